"""What the gateway counts, and how Prometheus reads it.

The hot path adds to plain integers; they become metrics when they are scraped. A Prometheus
counter costs about a microsecond a call, a delivery five in all. What is timed per delivery is
timed once for all deliveries of a publication.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter as CounterMetric, Gauge
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

HANDSHAKE_RESULTS = (
    *("ok", "bad_request", "unauthorized", "forbidden", "rate_limited", "over_capacity", "error"),
)
_HANDSHAKE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_DELIVERY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
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

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, once or several times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many values there were up to each bound, and their sum."""
        names = (*(str(float(bound)) for bound in self._bounds), "+Inf")
        return list(zip(names, accumulate(self._counts), strict=True)), self._sum


class DeliveryTimes:
    """How long publications take from the publisher's clock to the write to the sockets.

    All subscribers of a publication are written to in one turn of the event loop, so that one
    reading of the clock at its end is good for all of them.

    Args:
        clock: Unix time in seconds; of another machine than the publisher's, perhaps.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = Buckets(_DELIVERY_BUCKETS)
        self._clock = clock
        self._waiting: list[tuple[float, int]] = []

    def add(self, published_at: float, receivers: int) -> None:
        """Note a publication that was queued for these receivers."""
        self._waiting.append((published_at, receivers))

    def written(self) -> None:
        """Count all that was noted: the turn's writes are done."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            now = self._clock()
            for published_at, receivers in waiting:
                self.seconds.observe(max(0.0, now - published_at), receivers)


class Metrics:
    """The collectors of one gateway process.

    Args:
        registry: Where to register; one of its own in every test.
        version: Of this build.

    Attributes:
        handshakes: By their outcome.
        handshake_seconds: From the request's head to the answer.
        connection_seconds: How long connections lasted.
        messages_received: Commands by their name.
        messages_sent: Publications delivered.
        bytes_received: Of messages, as they came.
        disconnects: Ended connections by close code.
        jwks_fetched_at: Unix time of the last good fetch of an issuer's keys.
        queues_dropped: Connections cut because their peer did not read, by the limit they passed.
        command_errors: Commands that failed, by error code.
    """

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.registry = registry
        self.messages_received: Counter[str] = Counter()
        self.disconnects: Counter[int] = Counter()
        self.command_errors: Counter[int] = Counter()
        self.jwks_fetched_at: dict[str, float] = {}
        self.queues_dropped: Counter[str] = Counter()
        # From zero: what is not there at all has no rate, and its first rise would be missed.
        self.handshakes = Counter(dict.fromkeys(HANDSHAKE_RESULTS, 0))
        self.handshake_seconds = Buckets(_HANDSHAKE_BUCKETS)
        self.connection_seconds = Buckets(_CONNECTION_BUCKETS)
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent: Callable[[], int] = lambda: 0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.gauges_by_label: dict[str, tuple[str, str, Callable[[], Mapping[str, float]]]] = {}
        self.counters: dict[str, tuple[str, Callable[[], float]]] = {}
        self.histograms: dict[str, tuple[str, Mapping[str, Buckets], str]] = {}
        self.families: dict[str, tuple[str, Sequence[str], Mapping[tuple[Any, ...], int]]] = {}
        self._tables: dict[str, Callable[[], int]] = {}
        self.jwks_refreshes = CounterMetric(
            "gateway_jwks_refresh", "Fetches of issuers' keys.", ["result"], registry=registry
        )
        for result in ("ok", "error"):
            self.jwks_refreshes.labels(result)
        self.histogram(
            "gateway_handshake_duration_seconds",
            "From the request's head to the answer, whatever it is.",
            self.handshake_seconds,
        )
        self.histogram(
            "gateway_connection_duration_seconds",
            "How long connections lasted.",
            self.connection_seconds,
        )
        Gauge("gateway_build_info", "The running version.", ["version"], registry=registry).labels(
            version
        ).set(1)
        registry.register(self)

    def count_jwks_fetch(self, issuer: str, good: bool) -> None:
        """Count a fetch of an issuer's keys, and remember when it was if it was good."""
        self.jwks_refreshes.labels("ok" if good else "error").inc()
        if good:
            self.jwks_fetched_at[issuer] = time.time()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when it is scraped."""
        self.gauges[name] = text, read

    def counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a counter that is read when it is scraped; ``_total`` is appended to its name."""
        self.counters[name] = text, read

    def gauge_by(
        self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        """Add a gauge with one label, whose values are bounded."""
        self.gauges_by_label[name] = text, label, read

    def table(self, name: str, read: Callable[[], int]) -> None:
        """Add a table that grows with clients, tokens or channels, and how to count its entries."""
        self._tables[name] = read
        self.gauge_by(
            "gateway_table_entries",
            "Entries of tables that grow with clients, tokens or channels.",
            "table",
            lambda: {each: count() for each, count in self._tables.items()},
        )

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
        self.histograms[name] = text, {"": buckets}, ""

    def histogram_by(self, name: str, text: str, label: str, parts: Mapping[str, Buckets]) -> None:
        """Add a histogram with one label, whose parts may still become more."""
        self.histograms[name] = text, parts, label

    def describe(self) -> Iterator[Metric]:
        """Nothing: what is collected is only known when it is."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Turn the plain numbers into metrics (prometheus_client's collector protocol)."""
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())
        for name, (text, read) in self.counters.items():
            yield CounterMetricFamily(name, text, value=read())
        for name, (text, parts, label) in self.histograms.items():
            histogram = HistogramMetricFamily(name, text, labels=[label] if label else [])
            for part_of, part in parts.items():
                buckets, total = part.read()
                histogram.add_metric([part_of] if label else [], buckets, total)
            yield histogram
        for name, (text, label, values_now) in self.gauges_by_label.items():
            gauge = GaugeMetricFamily(name, text, labels=[label])
            for label_value, number in values_now().items():
                gauge.add_metric([label_value], number)
            yield gauge
        for name, (text, labels, numbers) in self.families.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for values, count in numbers.items():
                family.add_metric([str(value) for value in values], count)
            yield family
        yield CounterMetricFamily(
            "gateway_messages_sent", "Publications delivered.", value=self.messages_sent
        )
        volume = CounterMetricFamily(
            "gateway_message_bytes",
            "Bytes of messages: in: their payloads; out: with the heads of their frames.",
            labels=["direction"],
        )
        volume.add_metric(["in"], self.bytes_received)
        volume.add_metric(["out"], self.bytes_sent())
        yield volume
        for name, label, text, counts in (
            (
                "handshakes",
                "result",
                "Handshakes of all transports by their outcome.",
                self.handshakes,
            ),
            ("messages_received", "type", "Commands received.", self.messages_received),
            ("disconnects", "code", "Ended connections by close code.", self.disconnects),
            ("command_errors", "code", "Failed commands by error code.", self.command_errors),
            (
                "send_queue_dropped",
                "reason",
                "Connections cut because their peer did not read: too many bytes, or too long.",
                self.queues_dropped,
            ),
        ):
            family = CounterMetricFamily(f"gateway_{name}", text, labels=[label])
            for value, count in counts.items():
                family.add_metric([str(value)], count)
            yield family
