"""What the gateway counts, and how Prometheus reads it.

The hot path adds to plain integers; they become metrics when they are scraped. A Prometheus
counter costs about a microsecond a call, a delivery five in all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter as CounterMetric, Gauge, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

_CONNECTION_BUCKETS = (1, 10, 60, 300, 900, 3600, 14400, 86400)


class Buckets:
    """A histogram in plain numbers.

    Args:
        bounds: The upper bound of each bucket, rising; one more takes what is above them all.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many values there were up to each bound, and their sum."""
        names = (*(str(float(bound)) for bound in self._bounds), "+Inf")
        return list(zip(names, accumulate(self._counts), strict=True)), self._sum


class Metrics:
    """The collectors of one gateway process.

    Args:
        registry: Where to register; one of its own in every test.
        version: Of this build.

    Attributes:
        messages_received: Commands by their name.
        messages_sent: Publications delivered.
        disconnects: Ended connections by close code.
        command_errors: Commands that failed, by error code.
    """

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.registry = registry
        self.messages_received: Counter[str] = Counter()
        self.disconnects: Counter[int] = Counter()
        self.command_errors: Counter[int] = Counter()
        self.messages_sent = 0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.counters: dict[str, tuple[str, Callable[[], float]]] = {}
        self.histograms: dict[str, tuple[str, Buckets]] = {}
        self.families: dict[str, tuple[str, Sequence[str], Mapping[tuple[Any, ...], int]]] = {}
        self.handshakes = CounterMetric(
            "gateway_handshakes",
            "WebSocket handshakes by their outcome.",
            ["result"],
            registry=registry,
        )
        self.connection_seconds = Histogram(
            "gateway_connection_duration_seconds",
            "How long connections lasted.",
            buckets=_CONNECTION_BUCKETS,
            registry=registry,
        )
        self.jwks_refreshes = CounterMetric(
            "gateway_jwks_refresh", "Fetches of issuers' keys.", ["result"], registry=registry
        )
        Gauge("gateway_build_info", "The running version.", ["version"], registry=registry).labels(
            version
        ).set(1)
        registry.register(self)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when it is scraped."""
        self.gauges[name] = text, read

    def counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a counter that is read when it is scraped; ``_total`` is appended to its name."""
        self.counters[name] = text, read

    def family(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        counts: Mapping[tuple[Any, ...], int],
    ) -> None:
        """Add a counter for each key of a mapping, whose parts are its labels' values."""
        self.families[name] = text, labels, counts

    def histogram(self, name: str, text: str, buckets: Buckets) -> None:
        """Add a histogram that is read when it is scraped."""
        self.histograms[name] = text, buckets

    def describe(self) -> Iterator[Metric]:
        """Nothing: what is collected is only known when it is."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Turn the plain numbers into metrics (prometheus_client's collector protocol)."""
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())
        for name, (text, read) in self.counters.items():
            yield CounterMetricFamily(name, text, value=read())
        for name, (text, labels, numbers) in self.families.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for values, count in numbers.items():
                family.add_metric([str(value) for value in values], count)
            yield family
        for name, (text, histogram) in self.histograms.items():
            buckets, total = histogram.read()
            yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
        yield CounterMetricFamily(
            "gateway_messages_sent", "Publications delivered.", value=self.messages_sent
        )
        for name, label, text, counts in (
            ("messages_received", "type", "Commands received.", self.messages_received),
            ("disconnects", "code", "Ended connections by close code.", self.disconnects),
            ("command_errors", "code", "Failed commands by error code.", self.command_errors),
        ):
            family = CounterMetricFamily(f"gateway_{name}", text, labels=[label])
            for value, count in counts.items():
                family.add_metric([str(value)], count)
            yield family
