"""The four boards: is all well, then one for each place where it may not be."""

from __future__ import annotations

from infra.grafana.dashboard import Board, Kind, Panel, Query, Row

# What every query is narrowed to. Recorded series are sums over instances, so they have a job only.
_JOB = 'job=~"$job"'
_ONE = 'job=~"$job", instance=~"$instance"'
_RATE = "[$__rate_interval]"


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{_ONE}{more}}}{_RATE}))"


def _percentile(share: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    buckets = f"rate({metric}_bucket{{{_ONE}}}{_RATE})"
    return f"histogram_quantile({share}, sum by ({labels}) ({buckets}))"


def _percentiles(metric: str) -> list[Query]:
    return [
        Query(_percentile(share, metric), name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


_OVERVIEW = Board(
    uid="drawbridge-overview",
    title="Drawbridge / Overview",
    description="Whether clients get what they were promised, and where to look if not.",
    series="up",
    rows=[
        Row(
            "Objectives",
            [
                Panel(
                    title="Good handshakes",
                    description="That opened a socket, in the last hour. Promised: 99.9 %.",
                    unit="percentunit",
                    queries=[Query(f"1 - job:gateway_handshake_errors:ratio_rate1h{{{_JOB}}}")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Good deliveries",
                    description="Within 250 ms, in the last hour. Promised: 99 %.",
                    unit="percentunit",
                    queries=[
                        Query(f"1 - job:gateway_message_delivery_slow:ratio_rate1h{{{_JOB}}}")
                    ],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Good token requests",
                    description="Without a 5xx, in the last hour. Promised: 99.9 %.",
                    unit="percentunit",
                    queries=[Query(f"1 - job:auth_http_request_errors:ratio_rate1h{{{_JOB}}}")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Open connections",
                    description="On all gateways.",
                    unit="short",
                    queries=[Query(f"sum(gateway_connections{{{_JOB}}})")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Deliveries",
                    description="Messages written to sockets, a second.",
                    unit="ops",
                    queries=[Query(f"sum(rate(gateway_messages_sent_total{{{_JOB}}}{_RATE}))")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Alerts that fire",
                    description="All but the watchdog; docs/operations.md has a heading for each.",
                    unit="short",
                    queries=[
                        Query(
                            "count("
                            'ALERTS{alertstate="firing", alertname!="Watchdog", ' + _JOB + "}"
                            ") or vector(0)"
                        )
                    ],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Connections",
                    description="Of each gateway, one upon the other.",
                    unit="short",
                    queries=[
                        Query(f"sum by (instance) (gateway_connections{{{_JOB}}})", "{{instance}}")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Messages in and out",
                    description="What clients sent, and deliveries. Their ratio is the fan-out.",
                    unit="ops",
                    queries=[
                        Query(f"sum(rate(gateway_messages_received_total{{{_JOB}}}{_RATE}))", "in"),
                        Query(f"sum(rate(gateway_messages_sent_total{{{_JOB}}}{_RATE}))", "out"),
                    ],
                ),
                Panel(
                    title="Delivery, p99",
                    description="From the publication to the socket. Promised: 250 ms.",
                    unit="s",
                    queries=[
                        Query(f"job:gateway_message_delivery_seconds:p99_5m{{{_JOB}}}", "{{job}}")
                    ],
                ),
            ],
        ),
        Row(
            "The canary, where there is one",
            [
                Panel(
                    title="There and back",
                    description="From the order to publish to the publication's return, through"
                    " the public address.",
                    unit="s",
                    queries=_percentiles("canary_round_trip_seconds"),
                ),
                Panel(
                    title="Attempts that failed",
                    description="By the stage at which they ended; one of ten calls somebody.",
                    unit="ops",
                    queries=[
                        Query(
                            _rate("canary_attempts_total", "stage", ', outcome="failure"'),
                            "{{stage}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Since the last success",
                    description="Above twelve intervals it is late, and somebody is called.",
                    unit="s",
                    queries=[
                        Query(
                            f"time() - (canary_last_success_timestamp_seconds{{{_ONE}}} > 0)",
                            "{{instance}}",
                        ),
                        Query(f"12 * canary_interval_seconds{{{_ONE}}}", "late"),
                    ],
                ),
                Panel(
                    title="Attempts, by stage",
                    description="Log-ins are few: a token lasts for minutes.",
                    unit="ops",
                    queries=[
                        Query(
                            _rate("canary_attempts_total", "stage", ', outcome="success"'),
                            "{{stage}}",
                        )
                    ],
                    width=12,
                ),
                Panel(
                    title="Missed, and come back",
                    description="missed: acknowledged, and lost. reconnects: drains, ages, faults.",
                    unit="ops",
                    queries=[
                        Query(_rate("canary_missed_publications_total", "job"), "missed"),
                        Query(_rate("canary_reconnects_total", "job"), "reconnects"),
                    ],
                    width=12,
                ),
            ],
        ),
        Row(
            "Requests",
            [
                Panel(
                    title="Handshakes by result",
                    description="over_capacity, timeout and error are faults of ours.",
                    unit="ops",
                    queries=[
                        Query(
                            f"sum by (result) (rate(gateway_handshakes_total{{{_JOB}}}{_RATE}))",
                            "{{result}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Unwanted disconnects",
                    description="Without those who left by themselves, drains and expiry.",
                    unit="ops",
                    queries=[
                        Query(f"job:gateway_disconnects_unwanted:rate2m{{{_JOB}}}", "{{job}}")
                    ],
                ),
                Panel(
                    title="Token service, requests by code",
                    description="5xx are faults of ours.",
                    unit="ops",
                    queries=[
                        Query(
                            f"sum by (code) (rate(auth_http_requests_total{{{_JOB}}}{_RATE}))",
                            "{{code}}",
                        )
                    ],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Budgets",
            [
                Panel(
                    title=f"Burn rate: {name}",
                    description="1 uses up the budget of 30 days in 30 days; 14.4 over an hour"
                    " calls somebody.",
                    unit="short",
                    queries=[
                        Query(f"{series}:ratio_rate{window}{{{_JOB}}} / {budget}", window)
                        for window in ("1h", "6h", "3d")
                    ],
                )
                for name, series, budget in (
                    ("handshakes", "job:gateway_handshake_errors", 0.001),
                    ("delivery", "job:gateway_message_delivery_slow", 0.01),
                    ("tokens", "job:auth_http_request_errors", 0.001),
                )
            ],
        ),
        Row(
            "Who answers",
            [
                Panel(
                    title="Targets",
                    description="1 while Prometheus can read it.",
                    unit="short",
                    queries=[Query(f"up{{{_ONE}}}", "{{job}} {{instance}}")],
                    width=16,
                ),
                Panel(
                    title="Versions",
                    description="Two side by side during a rollout.",
                    unit="short",
                    queries=[
                        Query(f"count by (job, version) (gateway_build_info{{{_JOB}}})"),
                        Query(f"count by (job, version) (auth_build_info{{{_JOB}}})"),
                    ],
                    kind=Kind.TABLE,
                ),
            ],
        ),
    ],
)

_GATEWAY = Board(
    uid="drawbridge-gateway",
    title="Drawbridge / Gateway",
    description="Connections, handshakes, messages, and what they cost, for each gateway.",
    series="gateway_connections",
    rows=[
        Row(
            "Connections",
            [
                Panel(
                    title="Connections",
                    description="Of each gateway. Uneven for hours after one was added.",
                    unit="short",
                    queries=[Query(f"gateway_connections{{{_ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Handshakes by result",
                    description="A storm of ok is a reconnect; over_capacity and error are ours.",
                    unit="ops",
                    queries=[Query(_rate("gateway_handshakes_total", "result"), "{{result}}")],
                    stacked=True,
                ),
                Panel(
                    title="Disconnects by code",
                    description="1000 to 1005 and 3000 left by themselves, 3001 drain, 3005 expiry,"
                    " 3008 slow, 3012 no pong, 3500 revoked, 3004 a bug.",
                    unit="ops",
                    queries=[Query(_rate("gateway_disconnects_total", "code"), "{{code}}")],
                    stacked=True,
                ),
                Panel(
                    title="Delivery",
                    description="From the publication to the socket, by both clocks.",
                    unit="s",
                    queries=_percentiles("gateway_message_delivery_seconds"),
                ),
                Panel(
                    title="Event loop lag, p99",
                    description="By how much everything on a gateway is late; 0.2 s calls"
                    " somebody.",
                    unit="s",
                    queries=[
                        Query(
                            _percentile(0.99, "gateway_event_loop_lag_seconds", "instance"),
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="CPU",
                    description="Of one core; a gateway uses one, and is full at 1.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"rate(process_cpu_seconds_total{{{_ONE}}}{_RATE})"
                            " * on (job, instance) group_left gateway_build_info",
                            "{{instance}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Messages",
            [
                Panel(
                    title="Commands received",
                    description="By their name.",
                    unit="ops",
                    queries=[Query(_rate("gateway_messages_received_total", "type"), "{{type}}")],
                    stacked=True,
                ),
                Panel(
                    title="Deliveries",
                    description="Publications written to subscribers.",
                    unit="ops",
                    queries=[Query(_rate("gateway_messages_sent_total", "instance"))],
                    stacked=True,
                ),
                Panel(
                    title="Bytes",
                    description="Of messages, without TLS.",
                    unit="Bps",
                    queries=[Query(_rate("gateway_message_bytes_total", "direction"))],
                ),
                Panel(
                    title="Delivery times",
                    description="How many deliveries took how long.",
                    unit="s",
                    queries=[Query(_rate("gateway_message_delivery_seconds_bucket", "le"))],
                    kind=Kind.HEAT,
                    width=12,
                ),
                Panel(
                    title="Errors answered",
                    description="100 internal, 103 forbidden, 109 expired, 111 too fast.",
                    unit="ops",
                    queries=[Query(_rate("gateway_command_errors_total", "code"), "{{code}}")],
                    stacked=True,
                    width=12,
                ),
            ],
        ),
        Row(
            "Sockets",
            [
                Panel(
                    title="How full",
                    description="Connections of what each gateway may hold; 85 % are a ticket.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"gateway_connections{{{_ONE}}} / gateway_connections_limit{{{_ONE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Handshake",
                    description="From the head of the request to the answer.",
                    unit="s",
                    queries=_percentiles("gateway_handshake_duration_seconds"),
                ),
                Panel(
                    title="Frames in one write",
                    description="Joined frames are what makes fan-out cheap; many are also a"
                    " loop that is busy.",
                    unit="short",
                    queries=_percentiles("gateway_send_queue_depth"),
                ),
                Panel(
                    title="Cut, because they did not read",
                    description="Too many bytes waited, or nothing was read for too long.",
                    unit="ops",
                    queries=[Query(_rate("gateway_send_queue_dropped_total", "reason"))],
                ),
                Panel(
                    title="Life of a connection",
                    description="Of those that ended.",
                    unit="s",
                    queries=_percentiles("gateway_connection_duration_seconds"),
                ),
                Panel(
                    title="Subscriptions and channels",
                    description="Of each gateway.",
                    unit="short",
                    queries=[
                        Query(
                            f"gateway_subscriptions_active{{{_ONE}}}", "subscriptions {{instance}}"
                        ),
                        Query(f"gateway_channels_active{{{_ONE}}}", "channels {{instance}}"),
                    ],
                ),
                Panel(
                    title="Memory",
                    description="Resident, of each gateway.",
                    unit="bytes",
                    queries=[
                        Query(
                            f"process_resident_memory_bytes{{{_ONE}}}"
                            " * on (job, instance) group_left gateway_build_info",
                            "{{instance}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Kept out, and left behind",
            [
                Panel(
                    title="Kept out, by reason",
                    description="Whatever the token says. full, not_ready and pace get 503; user"
                    " and address are limits that you set.",
                    unit="ops",
                    queries=[Query(_rate("gateway_admissions_refused_total", "reason"))],
                    stacked=True,
                ),
                Panel(
                    title="Who have not said who they are",
                    description="Open connections without a credential yet.",
                    unit="short",
                    queries=[
                        Query(f"gateway_connections_unauthenticated{{{_ONE}}}", "{{instance}}")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="What is kept of clients",
                    description="Entries of all gateways' tables, and tasks. Without clients nearly"
                    " nothing is left; what only grows is a leak.",
                    unit="short",
                    queries=[
                        Query(
                            f"sum by (table) (gateway_table_entries{{{_ONE}}})",
                            "{{table}}",
                        ),
                        Query(f"sum(gateway_tasks{{{_ONE}}})", "tasks"),
                    ],
                ),
                Panel(
                    title="Subscriptions ended, because they did not read",
                    description='Where slow_reader = "drop": they recover from history, and the'
                    " connection stays.",
                    unit="ops",
                    queries=[Query(_rate("gateway_subscriptions_dropped_total", "instance"))],
                ),
            ],
        ),
        Row(
            "Redis, as the gateways see it",
            [
                Panel(
                    title="Hears Redis",
                    description="0: what others publish passes by.",
                    unit="short",
                    queries=[
                        Query(f"gateway_redis_subscriber_connected{{{_ONE}}}", "{{instance}}")
                    ],
                ),
                Panel(
                    title="Redis lag",
                    description="From publish to receive, by both clocks.",
                    unit="s",
                    queries=_percentiles("gateway_redis_lag_seconds"),
                ),
                Panel(
                    title="Commands, p99",
                    description="From the request to the reply.",
                    unit="s",
                    queries=[
                        Query(
                            _percentile(0.99, "gateway_redis_command_duration_seconds", "command"),
                            "{{command}}",
                        )
                    ],
                ),
                Panel(
                    title="Messages from Redis",
                    description="Received, and those that could not be understood.",
                    unit="ops",
                    queries=[
                        Query(_rate("gateway_redis_messages_received_total", "job"), "received"),
                        Query(_rate("gateway_redis_malformed_total", "job"), "malformed"),
                    ],
                ),
                Panel(
                    title="Failures",
                    description="Publications not acknowledged, and connections made again.",
                    unit="ops",
                    queries=[
                        Query(_rate("gateway_redis_publish_errors_total", "job"), "publish errors"),
                        Query(_rate("gateway_redis_reconnects_total", "job"), "reconnects"),
                    ],
                ),
                Panel(
                    title="Deaf",
                    description="Share of the time in which messages may have passed by.",
                    unit="percentunit",
                    queries=[Query(_rate("gateway_redis_deaf_seconds_total", "instance"))],
                ),
            ],
        ),
        Row(
            "Tokens and revocations",
            [
                Panel(
                    title="Judging a token",
                    description="A token seen before costs 10 µs, a signature 200.",
                    unit="s",
                    queries=_percentiles("gateway_auth_token_verify_seconds"),
                ),
                Panel(
                    title="Issuers' keys",
                    description="Fetches by result.",
                    unit="ops",
                    queries=[Query(_rate("gateway_jwks_refresh_total", "result"), "{{result}}")],
                ),
                Panel(
                    title="Age of the keys",
                    description="Since the last good fetch, of the oldest issuer.",
                    unit="s",
                    queries=[
                        Query(
                            f"time() - gateway_jwks_last_refresh_timestamp_seconds{{{_ONE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Revocation lag",
                    description="How old the revocation log is, as far as it is known here.",
                    unit="s",
                    queries=[Query(f"gateway_revocation_lag_seconds{{{_ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Revocations in force",
                    description="The same on every gateway.",
                    unit="short",
                    queries=[Query(f"gateway_revocation_rules{{{_ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="The revocation log",
                    description="Entries read, and those that could not be understood.",
                    unit="ops",
                    queries=[
                        Query(_rate("gateway_revocation_entries_total", "job"), "entries"),
                        Query(_rate("gateway_revocation_malformed_total", "job"), "malformed"),
                    ],
                ),
                Panel(
                    title="The revocation log can be read",
                    description="0: nobody new is let in, after ten seconds.",
                    unit="short",
                    queries=[
                        Query(f"gateway_revocation_readable{{{_ONE}}}", "{{instance}}"),
                    ],
                ),
                Panel(
                    title="Closed by revocation",
                    description="Connections whose token, session or user was revoked.",
                    unit="ops",
                    queries=[Query(_rate("gateway_revocation_disconnects_total", "instance"))],
                ),
            ],
        ),
        Row(
            "History and presence",
            [
                Panel(
                    title="Gaps",
                    description="Filled from history, and told to subscribers as lost.",
                    unit="ops",
                    queries=[
                        Query(_rate("gateway_publications_filled_total", "job"), "filled"),
                        Query(_rate("gateway_positions_lost_total", "job"), "lost"),
                    ],
                ),
                Panel(
                    title="Presence",
                    description="Entries of each gateway.",
                    unit="short",
                    queries=[Query(f"gateway_presence_entries{{{_ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Joins and leaves nobody was told of",
                    description="Dropped, because too many waited.",
                    unit="ops",
                    queries=[Query(_rate("gateway_joins_leaves_dropped_total", "instance"))],
                ),
            ],
        ),
        Row(
            "Backends, hooks and other ways in",
            [
                Panel(
                    title="Server API, commands",
                    description="By method.",
                    unit="ops",
                    queries=[Query(_rate("gateway_api_requests_total", "method"), "{{method}}")],
                    stacked=True,
                ),
                Panel(
                    title="Server API, errors",
                    description="By code; 100 is a fault of ours.",
                    unit="ops",
                    queries=[
                        Query(
                            _rate("gateway_api_requests_total", "code", ', code!="0"'), "{{code}}"
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Server API, time to the answer",
                    description="Of whole requests, batches among them.",
                    unit="s",
                    queries=_percentiles("gateway_api_request_duration_seconds"),
                ),
                Panel(
                    title="Orders between gateways",
                    description="Not understood, not taken, or not answered by all in time.",
                    unit="ops",
                    queries=[
                        Query(_rate(f"gateway_control_{what}_total", "job"), what)
                        for what in ("malformed", "dropped", "unanswered")
                    ],
                ),
                Panel(
                    title="Hooks that were not told",
                    description="Of disconnects, because too many waited.",
                    unit="ops",
                    queries=[Query(_rate("gateway_hook_notices_dropped_total", "instance"))],
                ),
                Panel(
                    title="Compressed to",
                    description="Share of the bytes that were there before.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"{_rate('gateway_compression_output_bytes_total', 'job')} / "
                            f"{_rate('gateway_compression_input_bytes_total', 'job')}",
                            "{{job}}",
                        )
                    ],
                ),
                Panel(
                    title="Connections without WebSockets",
                    description="By transport; 0 where these are off.",
                    unit="short",
                    queries=[
                        Query(
                            f"sum by (transport) (gateway_fallback_connections{{{_ONE}}})",
                            "{{transport}}",
                        )
                    ],
                    stacked=True,
                    width=12,
                ),
                Panel(
                    title="Their commands",
                    description="Requests to /emulation, by outcome.",
                    unit="ops",
                    queries=[Query(_rate("gateway_emulation_requests_total", "result"))],
                    stacked=True,
                    width=12,
                ),
            ],
        ),
        Row(
            "Each gateway",
            [
                Panel(
                    title="Gateways",
                    description="Now.",
                    unit="short",
                    queries=[
                        Query(f"gateway_connections{{{_ONE}}}"),
                        Query(f"gateway_connections_limit{{{_ONE}}}"),
                        Query(f"gateway_draining{{{_ONE}}}"),
                        Query(f"gateway_build_info{{{_ONE}}}"),
                    ],
                    kind=Kind.TABLE,
                    width=24,
                )
            ],
        ),
    ],
)

_AUTH = Board(
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
                    queries=[Query(_rate("auth_http_requests_total", "code"), "{{code}}")],
                    stacked=True,
                ),
                Panel(
                    title="Requests by route",
                    description="Templates; what is no route of ours is one of them.",
                    unit="ops",
                    queries=[Query(_rate("auth_http_requests_total", "route"), "{{route}}")],
                    stacked=True,
                ),
                Panel(
                    title="Time to the answer, p99",
                    description="A log-in costs a password hash, some 30 ms.",
                    unit="s",
                    queries=[
                        Query(
                            _percentile(0.99, "auth_http_request_duration_seconds", "route"),
                            "{{route}}",
                        )
                    ],
                ),
                Panel(
                    title="Log-ins by result",
                    description="failure without success is somebody who tries passwords.",
                    unit="ops",
                    queries=[Query(_rate("auth_logins_total", "result"), "{{result}}")],
                    stacked=True,
                ),
                Panel(
                    title="Access tokens issued",
                    description="By grant.",
                    unit="ops",
                    queries=[
                        Query(_rate("auth_tokens_issued_total", "grant_type"), "{{grant_type}}")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Refresh tokens",
                    description="reuse: a copy was presented, and the session ended.",
                    unit="ops",
                    queries=[Query(_rate("auth_refreshes_total", "result"), "{{result}}")],
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
                    queries=_percentiles("auth_password_hash_seconds"),
                ),
                Panel(
                    title="Wait for a thread",
                    description="Of those that got one.",
                    unit="s",
                    queries=_percentiles("auth_password_hash_wait_seconds"),
                ),
                Panel(
                    title="Queue, as found",
                    description="How many waited when one more came.",
                    unit="short",
                    queries=_percentiles("auth_password_hash_queue_depth"),
                ),
                Panel(
                    title="Turned away",
                    description="The queue was full, or the wait too long.",
                    unit="ops",
                    queries=[Query(_rate("auth_password_hash_rejected_total", "job"), "rejected")],
                ),
                Panel(
                    title="Refused by a limit",
                    description="By the limit that refused first.",
                    unit="ops",
                    queries=[Query(_rate("auth_rate_limited_total", "kind"), "{{kind}}")],
                    stacked=True,
                ),
                Panel(
                    title="Token endpoint",
                    description="By outcome: success, or OAuth2's word for the error.",
                    unit="ops",
                    queries=[Query(_rate("auth_token_requests_total", "outcome"), "{{outcome}}")],
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
                    queries=[Query(_percentile(0.99, "auth_db_query_duration_seconds", "kind"))],
                ),
                Panel(
                    title="Connections in use, as found",
                    description="When one more was wanted.",
                    unit="short",
                    queries=_percentiles("auth_db_pool_in_use"),
                ),
                Panel(
                    title="Failures",
                    description="It did not answer, or not in time, or refused.",
                    unit="ops",
                    queries=[Query(_rate("auth_db_failures_total", "kind"), "{{kind}}")],
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
                        Query(_rate("auth_revocations_total", "job"), "entries"),
                        Query(_rate("auth_revocation_publish_failures_total", "job"), "failures"),
                    ],
                ),
                Panel(
                    title="Publishing a revocation",
                    description="From the commit to Redis' answer.",
                    unit="s",
                    queries=_percentiles("auth_revocation_publish_seconds"),
                ),
                Panel(
                    title="Age of the stream",
                    description="Since it was last seen to hold every entry.",
                    unit="s",
                    queries=[
                        Query(
                            f"time() - auth_revocation_published_timestamp_seconds{{{_ONE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Signing keys",
                    description="By state.",
                    unit="short",
                    queries=[Query(f"auth_signing_keys{{{_ONE}}}", "{{state}}")],
                ),
                Panel(
                    title="Age of the signing key",
                    description="90 days are a ticket.",
                    unit="s",
                    queries=[
                        Query(
                            "time() - (auth_signing_key_activated_timestamp_seconds"
                            f"{{{_ONE}}} > 0)",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Audit",
                    description="Events by name.",
                    unit="ops",
                    queries=[Query(_rate("auth_audit_events_total", "event"), "{{event}}")],
                    stacked=True,
                ),
            ],
        ),
    ],
)

_INFRASTRUCTURE = Board(
    uid="drawbridge-infrastructure",
    title="Drawbridge / Infrastructure",
    description="nginx, Redis, PostgreSQL: how much is used, how full they are, what fails.",
    series="up",
    rows=[
        Row(
            "The front",
            [
                Panel(
                    title="nginx, connections",
                    description="A proxied socket is one to the client and one to the gateway.",
                    unit="short",
                    queries=[
                        Query(f"nginx_connections_{state}{{{_ONE}}}", state)
                        for state in ("active", "reading", "writing", "waiting")
                    ],
                ),
                Panel(
                    title="nginx, requests",
                    description="And connections that it dropped for want of room.",
                    unit="ops",
                    queries=[
                        Query(_rate("nginx_http_requests_total", "job"), "requests"),
                        Query(
                            f"sum(rate(nginx_connections_accepted{{{_ONE}}}{_RATE}))"
                            f" - sum(rate(nginx_connections_handled{{{_ONE}}}{_RATE}))",
                            "dropped",
                        ),
                    ],
                ),
                Panel(
                    title="Asked from outside",
                    description="The phases of one request to the front.",
                    unit="s",
                    queries=[Query(f"probe_http_duration_seconds{{{_ONE}}}", "{{phase}}")],
                    stacked=True,
                ),
                Panel(
                    title="Redis, commands",
                    description="All of them, of all clients.",
                    unit="ops",
                    queries=[
                        Query(
                            f"topk(8, {_rate('redis_commands_total', 'cmd')})",
                            "{{cmd}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Redis, CPU",
                    description="Of the one core that it has.",
                    unit="percentunit",
                    queries=[
                        Query(_rate("redis_cpu_user_seconds_total", "instance"), "user"),
                        Query(_rate("redis_cpu_sys_seconds_total", "instance"), "system"),
                    ],
                    stacked=True,
                ),
                Panel(
                    title="PostgreSQL, connections",
                    description="By state; idle in transaction holds others up.",
                    unit="short",
                    queries=[
                        Query(
                            f"sum by (state) (pg_stat_activity_count{{{_ONE}}}) > 0", "{{state}}"
                        ),
                    ],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Front, more",
            [
                Panel(
                    title="Front answers",
                    description="As a client would ask it.",
                    unit="short",
                    queries=[Query(f"probe_success{{{_ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Certificate, days left",
                    description="14 are a ticket.",
                    unit="short",
                    queries=[
                        Query(
                            f"(probe_ssl_earliest_cert_expiry{{{_ONE}}} - time()) / 86400",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="nginx is there",
                    description="Its exporter reaches it.",
                    unit="short",
                    queries=[Query(f"nginx_up{{{_ONE}}}", "{{instance}}")],
                ),
            ],
        ),
        Row(
            "Redis",
            [
                Panel(
                    title="Memory",
                    description="And its limit, if it has one.",
                    unit="bytes",
                    queries=[
                        Query(f"redis_memory_used_bytes{{{_ONE}}}", "used"),
                        Query(f"redis_memory_max_bytes{{{_ONE}}} > 0", "limit"),
                    ],
                ),
                Panel(
                    title="Keys",
                    description="Streams of history, presence, the revocation log.",
                    unit="short",
                    queries=[Query(f"sum by (db) (redis_db_keys{{{_ONE}}}) > 0", "{{db}}")],
                ),
                Panel(
                    title="Clients and channels",
                    description="Each gateway has three connections.",
                    unit="short",
                    queries=[
                        Query(f"redis_connected_clients{{{_ONE}}}", "clients"),
                        Query(f"redis_pubsub_channels{{{_ONE}}}", "channels"),
                    ],
                ),
                Panel(
                    title="Network",
                    description="In from publishers, out to every gateway that has a subscriber.",
                    unit="Bps",
                    queries=[
                        Query(_rate("redis_net_input_bytes_total", "job"), "in"),
                        Query(_rate("redis_net_output_bytes_total", "job"), "out"),
                    ],
                ),
                Panel(
                    title="Should not happen",
                    description="Keys evicted, connections rejected.",
                    unit="ops",
                    queries=[
                        Query(_rate("redis_evicted_keys_total", "job"), "evicted"),
                        Query(_rate("redis_rejected_connections_total", "job"), "rejected"),
                    ],
                ),
                Panel(
                    title="Last write to disk",
                    description="1 is good.",
                    unit="short",
                    queries=[
                        Query(f"redis_rdb_last_bgsave_status{{{_ONE}}}", "snapshot"),
                        Query(f"redis_aof_last_write_status{{{_ONE}}}", "append-only file"),
                    ],
                ),
            ],
        ),
        Row(
            "PostgreSQL",
            [
                Panel(
                    title="Transactions",
                    description="Committed and rolled back.",
                    unit="ops",
                    queries=[
                        Query(_rate("pg_stat_database_xact_commit", "job"), "committed"),
                        Query(_rate("pg_stat_database_xact_rollback", "job"), "rolled back"),
                    ],
                ),
                Panel(
                    title="Rows",
                    description="Changed.",
                    unit="ops",
                    queries=[
                        Query(_rate(f"pg_stat_database_tup_{what}", "job"), what)
                        for what in ("inserted", "updated", "deleted")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Found in memory",
                    description="Share of blocks; less than 0.99 for long asks for more memory.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"{_rate('pg_stat_database_blks_hit', 'job')} / ("
                            f"{_rate('pg_stat_database_blks_hit', 'job')} + "
                            f"{_rate('pg_stat_database_blks_read', 'job')})",
                            "hit",
                        )
                    ],
                ),
                Panel(
                    title="Longest transaction",
                    description="Ten minutes are a ticket.",
                    unit="s",
                    queries=[
                        Query(
                            f"max by (datname) (pg_stat_activity_max_tx_duration{{{_ONE}}})",
                            "{{datname}}",
                        )
                    ],
                ),
                Panel(
                    title="Size",
                    description="Of each database.",
                    unit="bytes",
                    queries=[Query(f"pg_database_size_bytes{{{_ONE}}}", "{{datname}}")],
                ),
                Panel(
                    title="PostgreSQL is there",
                    description="And how many connections it may have.",
                    unit="short",
                    queries=[
                        Query(f"pg_up{{{_ONE}}}", "up"),
                        Query(f"pg_settings_max_connections{{{_ONE}}}", "max_connections"),
                    ],
                ),
            ],
        ),
        Row(
            "Processes",
            [
                Panel(
                    title="CPU of processes",
                    description="In cores, of what has metrics of its process.",
                    unit="short",
                    queries=[
                        Query(
                            f"rate(process_cpu_seconds_total{{{_ONE}}}{_RATE})",
                            "{{job}} {{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Memory of processes",
                    description="Resident.",
                    unit="bytes",
                    queries=[
                        Query(f"process_resident_memory_bytes{{{_ONE}}}", "{{job}} {{instance}}")
                    ],
                ),
                Panel(
                    title="Open files",
                    description="Share of what each may have.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"process_open_fds{{{_ONE}}} / process_max_fds{{{_ONE}}}",
                            "{{job}} {{instance}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)

BOARDS = (_OVERVIEW, _GATEWAY, _AUTH, _INFRASTRUCTURE)
"""All of them."""
