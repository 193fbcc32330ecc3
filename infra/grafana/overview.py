"""The board that is looked at first: is all well, and where to look if not."""

from __future__ import annotations

from infra.grafana.dashboard import Board, Kind, Panel, Query, Row
from infra.grafana.queries import JOB, ONE, RATE, percentiles, rate

OVERVIEW = Board(
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
                    queries=[Query(f"1 - job:gateway_handshake_errors:ratio_rate1h{{{JOB}}}")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Good deliveries",
                    description="Within 250 ms, in the last hour. Promised: 99 %.",
                    unit="percentunit",
                    queries=[Query(f"1 - job:gateway_message_delivery_slow:ratio_rate1h{{{JOB}}}")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Good token requests",
                    description="Without a 5xx, in the last hour. Promised: 99.9 %.",
                    unit="percentunit",
                    queries=[Query(f"1 - job:auth_http_request_errors:ratio_rate1h{{{JOB}}}")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Open connections",
                    description="On all gateways.",
                    unit="short",
                    queries=[Query(f"sum(gateway_connections{{{JOB}}})")],
                    kind=Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Deliveries",
                    description="Messages written to sockets, a second.",
                    unit="ops",
                    queries=[Query(f"sum(rate(gateway_messages_sent_total{{{JOB}}}{RATE}))")],
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
                            'ALERTS{alertstate="firing", alertname!="Watchdog", ' + JOB + "}"
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
                        Query(f"sum by (instance) (gateway_connections{{{JOB}}})", "{{instance}}")
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Messages in and out",
                    description="What clients sent, and deliveries. Their ratio is the fan-out.",
                    unit="ops",
                    queries=[
                        Query(f"sum(rate(gateway_messages_received_total{{{JOB}}}{RATE}))", "in"),
                        Query(f"sum(rate(gateway_messages_sent_total{{{JOB}}}{RATE}))", "out"),
                    ],
                ),
                Panel(
                    title="Delivery, p99",
                    description="From the publication to the socket. Promised: 250 ms.",
                    unit="s",
                    queries=[
                        Query(f"job:gateway_message_delivery_seconds:p99_5m{{{JOB}}}", "{{job}}")
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
                    queries=percentiles("canary_round_trip_seconds"),
                ),
                Panel(
                    title="Attempts that failed",
                    description="By the stage at which they ended; one of ten calls somebody.",
                    unit="ops",
                    queries=[
                        Query(
                            rate("canary_attempts_total", "stage", ', outcome="failure"'),
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
                            f"time() - (canary_last_success_timestamp_seconds{{{ONE}}} > 0)",
                            "{{instance}}",
                        ),
                        Query(f"12 * canary_interval_seconds{{{ONE}}}", "late"),
                    ],
                ),
                Panel(
                    title="Attempts, by stage",
                    description="Log-ins are few: a token lasts for minutes.",
                    unit="ops",
                    queries=[
                        Query(
                            rate("canary_attempts_total", "stage", ', outcome="success"'),
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
                        Query(rate("canary_missed_publications_total", "job"), "missed"),
                        Query(rate("canary_reconnects_total", "job"), "reconnects"),
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
                            f"sum by (result) (rate(gateway_handshakes_total{{{JOB}}}{RATE}))",
                            "{{result}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    title="Unwanted disconnects",
                    description="Without those who left by themselves, drains and expiry.",
                    unit="ops",
                    queries=[Query(f"job:gateway_disconnects_unwanted:rate2m{{{JOB}}}", "{{job}}")],
                ),
                Panel(
                    title="Token service, requests by code",
                    description="5xx are faults of ours.",
                    unit="ops",
                    queries=[
                        Query(
                            f"sum by (code) (rate(auth_http_requests_total{{{JOB}}}{RATE}))",
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
                        Query(f"{series}:ratio_rate{window}{{{JOB}}} / {budget}", window)
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
                    queries=[Query(f"up{{{ONE}}}", "{{job}} {{instance}}")],
                    width=16,
                ),
                Panel(
                    title="Versions",
                    description="Two side by side during a rollout.",
                    unit="short",
                    queries=[
                        Query(f"count by (job, version) (gateway_build_info{{{JOB}}})"),
                        Query(f"count by (job, version) (auth_build_info{{{JOB}}})"),
                    ],
                    kind=Kind.TABLE,
                ),
            ],
        ),
    ],
)
