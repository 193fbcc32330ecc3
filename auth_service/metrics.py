"""The Prometheus collectors of this service, as one object built on a given registry.

Only counters and histograms, which several worker processes can simply add up; the one gauge holds
a constant. Labels are bounded: route templates, known methods, words of this package.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from auth_service import __version__

CONTENT_TYPE: str = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DEPTHS = (0, 1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Every collector, one attribute each.

    Args:
        registry: Where they are registered; a fresh one unless given, so that two services in one
            process (tests, the embedded mode) do not collide.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.http_requests = Counter(
            "auth_http_requests_total",
            "Answered HTTP requests.",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self.http_request_duration = Histogram(
            "auth_http_request_duration_seconds",
            "From the request's head to the end of the answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.logins = Counter(
            "auth_logins_total",
            "Password checks by their result.",
            ["result"],
            registry=self.registry,
        )
        self.tokens_issued = Counter(
            "auth_tokens_issued_total",
            "Access tokens handed out.",
            ["grant_type"],
            registry=self.registry,
        )
        self.password_hash = Histogram(
            "auth_password_hash_seconds",
            "One run of the password hash, waiting not included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        # A histogram and no gauge: what each arrival found adds up over workers, a level does not.
        self.password_hash_queue_depth = Histogram(
            "auth_password_hash_queue_depth",
            "How many others waited for a hashing thread when one more came.",
            buckets=_DEPTHS,
            registry=self.registry,
        )
        self.password_hash_rejected = Counter(
            "auth_password_hash_rejected_total",
            "Password checks turned away because the queue was full or the wait too long.",
            registry=self.registry,
        )
        build = Gauge(
            "auth_build_info",
            "Always 1; the label says which version runs.",
            ["version"],
            multiprocess_mode="max",
            registry=self.registry,
        )
        build.labels(version=__version__).set(1)

    def expose(self) -> bytes:
        """Write all series in Prometheus' text format, summed over the workers if there are any."""
        # prometheus_client itself looks at this variable when it is imported, so it is no setting
        # of ours.
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return bytes(generate_latest(registry))
        return bytes(generate_latest(self.registry))
