"""The Prometheus collectors of this service, as one object built on a given registry.

Counters and histograms, which several worker processes can simply add up. The few gauges tell what
is the same for all of them, or a time, so that the latest word of a living worker counts. Labels
are bounded: route templates, known methods, words of this package.
"""

from __future__ import annotations

import os
from collections.abc import Callable

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
_DATABASE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
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
            "Log-ins by their result.",
            ["result"],
            registry=self.registry,
        )
        # From zero: what is not there at all has no rate, and its first rise would be missed.
        for result in ("success", "failure", "limited", "overloaded"):
            self.logins.labels(result=result)
        self.rate_limited = Counter(
            "auth_rate_limited_total",
            "Attempts refused by a limit, by the first limit that refused.",
            ["kind"],
            registry=self.registry,
        )
        self.token_requests = Counter(
            "auth_token_requests_total",
            "Requests at the token endpoint by grant type, and success or the error's word.",
            ["grant_type", "outcome"],
            registry=self.registry,
        )
        self.tokens_issued = Counter(
            "auth_tokens_issued_total",
            "Access tokens handed out.",
            ["grant_type"],
            registry=self.registry,
        )
        self.refreshes = Counter(
            "auth_refreshes_total",
            "Refresh tokens presented, by what became of them: rotated; grace: the same answer"
            " once more; reuse: the session was ended; refused.",
            ["result"],
            registry=self.registry,
        )
        self.password_hash = Histogram(
            "auth_password_hash_seconds",
            "One run of the password hash, waiting not included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.password_hash_wait = Histogram(
            "auth_password_hash_wait_seconds",
            "How long a password check waited for a hashing thread, if it got one.",
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
        self.revocations = Counter(
            "auth_revocations_total",
            "Entries appended to the revocation log by this process.",
            registry=self.registry,
        )
        self.revocation_lag = Histogram(
            "auth_revocation_publish_seconds",
            "From the commit of an entry to Redis' answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.revocation_failures = Counter(
            "auth_revocation_publish_failures_total",
            "Attempts to bring the stream up to date that failed; each is repeated.",
            registry=self.registry,
        )
        self.db_query_duration = Histogram(
            "auth_db_query_duration_seconds",
            "One use of the database, from the wait for a connection to the end of the commit.",
            ["kind"],
            buckets=_DATABASE_SECONDS,
            registry=self.registry,
        )
        # As above: what each use found, because a level does not add up.
        self.db_pool_in_use = Histogram(
            "auth_db_pool_in_use",
            "How many connections to the database were in use when one more was wanted.",
            buckets=_DEPTHS,
            registry=self.registry,
        )
        self.db_failures = Counter(
            "auth_db_failures_total",
            "Uses of the database that failed: it did not answer, or not in time, or refused.",
            ["kind"],
            registry=self.registry,
        )
        self.revocations_published = Gauge(
            "auth_revocation_published_timestamp_seconds",
            "When the stream was last seen to hold every entry; 0 without Redis.",
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self.audit_events = Counter(
            "auth_audit_events_total",
            "Events of the audit, counted when their transaction is committed.",
            ["event", "outcome"],
            registry=self.registry,
        )
        self.signing_keys = Gauge(
            "auth_signing_keys",
            "Published signing keys by state.",
            ["state"],
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self.signing_key_activated = Gauge(
            "auth_signing_key_activated_timestamp_seconds",
            "When the key that signs began to; 0 if nobody knows, as with files.",
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        #: Brings gauges up to date before they are shown.
        self.refresh: Callable[[], None] = lambda: None
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
        self.refresh()
        # prometheus_client itself looks at this variable when it is imported, so it is no setting
        # of ours.
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return bytes(generate_latest(registry))
        return bytes(generate_latest(self.registry))
