"""What the canary counts, for Prometheus."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Stage(StrEnum):
    """How far an attempt came."""

    LOGIN = "login"
    CONNECT = "connect"
    PUBLISH = "publish"
    RECEIVE = "receive"


class Metrics:
    """The collectors.

    Args:
        registry: Where to register; one of its own in every test.
        interval_seconds: Between two attempts, so that an alert can count in them.

    Attributes:
        round_trip: From the order to publish to the publication's return.
        last_success: Unix time at which a publication last came back; 0 for never.
        missed: Publications that were acknowledged and that a later one overtook.
        reconnects: Connections after the first one.
    """

    def __init__(self, registry: CollectorRegistry, interval_seconds: float) -> None:
        self.round_trip = Histogram(
            "canary_round_trip_seconds",
            "From the order to publish to the publication's return.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.last_success = Gauge(
            "canary_last_success_timestamp_seconds",
            "When a publication last came back; 0 for never since the start.",
            registry=registry,
        )
        self.missed = Counter(
            "canary_missed_publications",
            "Publications that were acknowledged and never came, although a later one did.",
            registry=registry,
        )
        self.reconnects = Counter(
            "canary_reconnects", "Connections after the first one.", registry=registry
        )
        Gauge("canary_interval_seconds", "From one attempt to the next.", registry=registry).set(
            interval_seconds
        )
        self._attempts = Counter(
            "canary_attempts",
            "Log-ins, and the steps of each attempt, by their outcome.",
            ["stage", "outcome"],
            registry=registry,
        )
        # From zero: what is not there at all has no rate, and its first rise would be missed.
        for stage in Stage:
            for outcome in ("success", "failure"):
                self._attempts.labels(stage, outcome)

    def count(self, stage: Stage, *, good: bool) -> None:
        """Count one step of an attempt."""
        self._attempts.labels(stage, "success" if good else "failure").inc()
