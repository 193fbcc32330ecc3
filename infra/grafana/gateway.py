"""The board of the gateways: connections, messages, and what they cost."""

from __future__ import annotations

from infra.grafana.dashboard import Board, Kind, Panel, Query, Row
from infra.grafana.queries import ONE, RATE, percentile, percentiles, rate

GATEWAY = Board(
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
                    queries=[Query(f"gateway_connections{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Handshakes by result",
                    description="A storm of ok is a reconnect; over_capacity and error are ours.",
                    unit="ops",
                    queries=[Query(rate("gateway_handshakes_total", "result"), "{{result}}")],
                    stacked=True,
                ),
                Panel(
                    title="Disconnects by code",
                    description="1000 to 1005 and 3000 left by themselves, 3001 drain, 3005 expiry,"
                    " 3008 slow, 3012 no pong, 3500 revoked, 3004 a bug.",
                    unit="ops",
                    queries=[Query(rate("gateway_disconnects_total", "code"), "{{code}}")],
                    stacked=True,
                ),
                Panel(
                    title="Delivery",
                    description="From the publication to the socket, by both clocks.",
                    unit="s",
                    queries=percentiles("gateway_message_delivery_seconds"),
                ),
                Panel(
                    title="Event loop lag, p99",
                    description="By how much everything on a gateway is late; 0.2 s calls"
                    " somebody.",
                    unit="s",
                    queries=[
                        Query(
                            percentile(0.99, "gateway_event_loop_lag_seconds", "instance"),
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
                            f"rate(process_cpu_seconds_total{{{ONE}}}{RATE})"
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
                    queries=[Query(rate("gateway_messages_received_total", "type"), "{{type}}")],
                    stacked=True,
                ),
                Panel(
                    title="Deliveries",
                    description="Publications written to subscribers.",
                    unit="ops",
                    queries=[Query(rate("gateway_messages_sent_total", "instance"))],
                    stacked=True,
                ),
                Panel(
                    title="Bytes",
                    description="Of messages, without TLS.",
                    unit="Bps",
                    queries=[Query(rate("gateway_message_bytes_total", "direction"))],
                ),
                Panel(
                    title="Delivery times",
                    description="How many deliveries took how long.",
                    unit="s",
                    queries=[Query(rate("gateway_message_delivery_seconds_bucket", "le"))],
                    kind=Kind.HEAT,
                    width=12,
                ),
                Panel(
                    title="Errors answered",
                    description="100 internal, 103 forbidden, 109 expired, 111 too fast.",
                    unit="ops",
                    queries=[Query(rate("gateway_command_errors_total", "code"), "{{code}}")],
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
                            f"gateway_connections{{{ONE}}} / gateway_connections_limit{{{ONE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Handshake",
                    description="From the head of the request to the answer.",
                    unit="s",
                    queries=percentiles("gateway_handshake_duration_seconds"),
                ),
                Panel(
                    title="Frames in one write",
                    description="Joined frames are what makes fan-out cheap; many are also a"
                    " loop that is busy.",
                    unit="short",
                    queries=percentiles("gateway_send_queue_depth"),
                ),
                Panel(
                    title="Cut, because they did not read",
                    description="Too many bytes waited, or nothing was read for too long.",
                    unit="ops",
                    queries=[Query(rate("gateway_send_queue_dropped_total", "reason"))],
                ),
                Panel(
                    title="Life of a connection",
                    description="Of those that ended.",
                    unit="s",
                    queries=percentiles("gateway_connection_duration_seconds"),
                ),
                Panel(
                    title="Subscriptions and channels",
                    description="Of each gateway.",
                    unit="short",
                    queries=[
                        Query(
                            f"gateway_subscriptions_active{{{ONE}}}", "subscriptions {{instance}}"
                        ),
                        Query(f"gateway_channels_active{{{ONE}}}", "channels {{instance}}"),
                    ],
                ),
                Panel(
                    title="Memory",
                    description="Resident, of each gateway.",
                    unit="bytes",
                    queries=[
                        Query(
                            f"process_resident_memory_bytes{{{ONE}}}"
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
                    queries=[Query(rate("gateway_admissions_refused_total", "reason"))],
                    stacked=True,
                ),
                Panel(
                    title="Who have not said who they are",
                    description="Open connections without a credential yet.",
                    unit="short",
                    queries=[
                        Query(f"gateway_connections_unauthenticated{{{ONE}}}", "{{instance}}")
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
                            f"sum by (table) (gateway_table_entries{{{ONE}}})",
                            "{{table}}",
                        ),
                        Query(f"sum(gateway_tasks{{{ONE}}})", "tasks"),
                    ],
                ),
                Panel(
                    title="Subscriptions ended, because they did not read",
                    description='Where slow_reader = "drop": they recover from history, and the'
                    " connection stays.",
                    unit="ops",
                    queries=[Query(rate("gateway_subscriptions_dropped_total", "instance"))],
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
                    queries=[Query(f"gateway_redis_subscriber_connected{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Redis lag",
                    description="From publish to receive, by both clocks.",
                    unit="s",
                    queries=percentiles("gateway_redis_lag_seconds"),
                ),
                Panel(
                    title="Commands, p99",
                    description="From the request to the reply.",
                    unit="s",
                    queries=[
                        Query(
                            percentile(0.99, "gateway_redis_command_duration_seconds", "command"),
                            "{{command}}",
                        )
                    ],
                ),
                Panel(
                    title="Messages from Redis",
                    description="Received, and those that could not be understood.",
                    unit="ops",
                    queries=[
                        Query(rate("gateway_redis_messages_received_total", "job"), "received"),
                        Query(rate("gateway_redis_malformed_total", "job"), "malformed"),
                    ],
                ),
                Panel(
                    title="Failures",
                    description="Publications not acknowledged, and connections made again.",
                    unit="ops",
                    queries=[
                        Query(rate("gateway_redis_publish_errors_total", "job"), "publish errors"),
                        Query(rate("gateway_redis_reconnects_total", "job"), "reconnects"),
                    ],
                ),
                Panel(
                    title="Deaf",
                    description="Share of the time in which messages may have passed by.",
                    unit="percentunit",
                    queries=[Query(rate("gateway_redis_deaf_seconds_total", "instance"))],
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
                    queries=percentiles("gateway_auth_token_verify_seconds"),
                ),
                Panel(
                    title="Issuers' keys",
                    description="Fetches by result.",
                    unit="ops",
                    queries=[Query(rate("gateway_jwks_refresh_total", "result"), "{{result}}")],
                ),
                Panel(
                    title="Age of the keys",
                    description="Since the last good fetch, of the oldest issuer.",
                    unit="s",
                    queries=[
                        Query(
                            f"time() - gateway_jwks_last_refresh_timestamp_seconds{{{ONE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Revocation lag",
                    description="How old the revocation log is, as far as it is known here.",
                    unit="s",
                    queries=[Query(f"gateway_revocation_lag_seconds{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Revocations in force",
                    description="The same on every gateway.",
                    unit="short",
                    queries=[Query(f"gateway_revocation_rules{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="The revocation log",
                    description="Entries read, and those that could not be understood.",
                    unit="ops",
                    queries=[
                        Query(rate("gateway_revocation_entries_total", "job"), "entries"),
                        Query(rate("gateway_revocation_malformed_total", "job"), "malformed"),
                    ],
                ),
                Panel(
                    title="The revocation log can be read",
                    description="0: nobody new is let in, after ten seconds.",
                    unit="short",
                    queries=[
                        Query(f"gateway_revocation_readable{{{ONE}}}", "{{instance}}"),
                    ],
                ),
                Panel(
                    title="Closed by revocation",
                    description="Connections whose token, session or user was revoked.",
                    unit="ops",
                    queries=[Query(rate("gateway_revocation_disconnects_total", "instance"))],
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
                        Query(rate("gateway_publications_filled_total", "job"), "filled"),
                        Query(rate("gateway_positions_lost_total", "job"), "lost"),
                    ],
                ),
                Panel(
                    title="Presence",
                    description="Entries of each gateway.",
                    unit="short",
                    queries=[Query(f"gateway_presence_entries{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Joins and leaves nobody was told of",
                    description="Dropped, because too many waited.",
                    unit="ops",
                    queries=[Query(rate("gateway_joins_leaves_dropped_total", "instance"))],
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
                    queries=[Query(rate("gateway_api_requests_total", "method"), "{{method}}")],
                    stacked=True,
                ),
                Panel(
                    title="Server API, errors",
                    description="By code; 100 is a fault of ours.",
                    unit="ops",
                    queries=[
                        Query(rate("gateway_api_requests_total", "code", ', code!="0"'), "{{code}}")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Server API, time to the answer",
                    description="Of whole requests, batches among them.",
                    unit="s",
                    queries=percentiles("gateway_api_request_duration_seconds"),
                ),
                Panel(
                    title="Orders between gateways",
                    description="Not understood, not taken, or not answered by all in time.",
                    unit="ops",
                    queries=[
                        Query(rate(f"gateway_control_{what}_total", "job"), what)
                        for what in ("malformed", "dropped", "unanswered")
                    ],
                ),
                Panel(
                    title="Hooks that were not told",
                    description="Of disconnects, because too many waited.",
                    unit="ops",
                    queries=[Query(rate("gateway_hook_notices_dropped_total", "instance"))],
                ),
                Panel(
                    title="Compressed to",
                    description="Share of the bytes that were there before.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"{rate('gateway_compression_output_bytes_total', 'job')} / "
                            f"{rate('gateway_compression_input_bytes_total', 'job')}",
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
                            f"sum by (transport) (gateway_fallback_connections{{{ONE}}})",
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
                    queries=[Query(rate("gateway_emulation_requests_total", "result"))],
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
                        Query(f"gateway_connections{{{ONE}}}"),
                        Query(f"gateway_connections_limit{{{ONE}}}"),
                        Query(f"gateway_draining{{{ONE}}}"),
                        Query(f"gateway_build_info{{{ONE}}}"),
                    ],
                    kind=Kind.TABLE,
                    width=24,
                )
            ],
        ),
    ],
)
