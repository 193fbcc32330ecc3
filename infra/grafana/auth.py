"""The board of the token service: requests, log-ins, tokens, and the database behind them."""

from __future__ import annotations

from infra.grafana.dashboard import Board, Panel, Query, Row
from infra.grafana.queries import ONE, percentile, percentiles, rate

AUTH = Board(
    uid="drawbridge-auth",
    title="Drawbridge / Auth",
    description="Requests, log-ins, tokens, and the database behind them.",
    series="auth_build_info",
    rows=[
        Row(
            "Requests",
            [
                Panel(
                    title="Requests by code",
                    description="5xx are faults of the service.",
                    unit="ops",
                    queries=[Query(rate("auth_http_requests_total", "code"), "{{code}}")],
                    stacked=True,
                ),
                Panel(
                    title="Requests by route",
                    description="Templates; what is no route of ours is one of them.",
                    unit="ops",
                    queries=[Query(rate("auth_http_requests_total", "route"), "{{route}}")],
                    stacked=True,
                ),
                Panel(
                    title="Time to the answer, p99",
                    description="A log-in costs a password hash, some 30 ms.",
                    unit="s",
                    queries=[
                        Query(
                            percentile(0.99, "auth_http_request_duration_seconds", "route"),
                            "{{route}}",
                        )
                    ],
                ),
                Panel(
                    title="Log-ins by result",
                    description="failure without success is somebody who tries passwords.",
                    unit="ops",
                    queries=[Query(rate("auth_logins_total", "result"), "{{result}}")],
                    stacked=True,
                ),
                Panel(
                    title="Access tokens issued",
                    description="By grant.",
                    unit="ops",
                    queries=[
                        Query(rate("auth_tokens_issued_total", "grant_type"), "{{grant_type}}")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Refresh tokens",
                    description="reuse: a copy was presented, and the session ended.",
                    unit="ops",
                    queries=[Query(rate("auth_refreshes_total", "result"), "{{result}}")],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Passwords",
            [
                Panel(
                    title="One hash",
                    description="Without waiting.",
                    unit="s",
                    queries=percentiles("auth_password_hash_seconds"),
                ),
                Panel(
                    title="Wait for a thread",
                    description="Of those that got one.",
                    unit="s",
                    queries=percentiles("auth_password_hash_wait_seconds"),
                ),
                Panel(
                    title="Queue, as found",
                    description="How many waited when one more came.",
                    unit="short",
                    queries=percentiles("auth_password_hash_queue_depth"),
                ),
                Panel(
                    title="Turned away",
                    description="The queue was full, or the wait too long.",
                    unit="ops",
                    queries=[Query(rate("auth_password_hash_rejected_total", "job"), "rejected")],
                ),
                Panel(
                    title="Refused by a limit",
                    description="By the limit that refused first.",
                    unit="ops",
                    queries=[Query(rate("auth_rate_limited_total", "kind"), "{{kind}}")],
                    stacked=True,
                ),
                Panel(
                    title="Token endpoint",
                    description="By outcome: success, or OAuth2's word for the error.",
                    unit="ops",
                    queries=[Query(rate("auth_token_requests_total", "outcome"), "{{outcome}}")],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Database",
            [
                Panel(
                    title="Database p99",
                    description="From the wait for a connection to the end of the commit.",
                    unit="s",
                    queries=[Query(percentile(0.99, "auth_db_query_duration_seconds", "kind"))],
                ),
                Panel(
                    title="Connections in use, as found",
                    description="When one more was wanted.",
                    unit="short",
                    queries=percentiles("auth_db_pool_in_use"),
                ),
                Panel(
                    title="Failures",
                    description="It did not answer, or not in time, or refused.",
                    unit="ops",
                    queries=[Query(rate("auth_db_failures_total", "kind"), "{{kind}}")],
                ),
            ],
        ),
        Row(
            "Revocations, keys, audit",
            [
                Panel(
                    title="Revocations",
                    description="Entries, and attempts to publish them that failed.",
                    unit="ops",
                    queries=[
                        Query(rate("auth_revocations_total", "job"), "entries"),
                        Query(rate("auth_revocation_publish_failures_total", "job"), "failures"),
                    ],
                ),
                Panel(
                    title="Publishing a revocation",
                    description="From the commit to Redis' answer.",
                    unit="s",
                    queries=percentiles("auth_revocation_publish_seconds"),
                ),
                Panel(
                    title="Age of the stream",
                    description="Since it was last seen to hold every entry.",
                    unit="s",
                    queries=[
                        Query(
                            f"time() - auth_revocation_published_timestamp_seconds{{{ONE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Signing keys",
                    description="By state.",
                    unit="short",
                    queries=[Query(f"auth_signing_keys{{{ONE}}}", "{{state}}")],
                ),
                Panel(
                    title="Age of the signing key",
                    description="90 days are a ticket.",
                    unit="s",
                    queries=[
                        Query(
                            f"time() - (auth_signing_key_activated_timestamp_seconds{{{ONE}}} > 0)",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Audit",
                    description="Events by name.",
                    unit="ops",
                    queries=[Query(rate("auth_audit_events_total", "event"), "{{event}}")],
                    stacked=True,
                ),
            ],
        ),
    ],
)
