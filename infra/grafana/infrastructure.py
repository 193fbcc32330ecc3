"""The board of what both stand on: the front, Redis, PostgreSQL, and processes."""

from __future__ import annotations

from infra.grafana.dashboard import Board, Panel, Query, Row
from infra.grafana.queries import ONE, RATE, rate

INFRASTRUCTURE = Board(
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
                        Query(f"nginx_connections_{state}{{{ONE}}}", state)
                        for state in ("active", "reading", "writing", "waiting")
                    ],
                ),
                Panel(
                    title="nginx, requests",
                    description="And connections that it dropped for want of room.",
                    unit="ops",
                    queries=[
                        Query(rate("nginx_http_requests_total", "job"), "requests"),
                        Query(
                            f"sum(rate(nginx_connections_accepted{{{ONE}}}{RATE}))"
                            f" - sum(rate(nginx_connections_handled{{{ONE}}}{RATE}))",
                            "dropped",
                        ),
                    ],
                ),
                Panel(
                    title="Asked from outside",
                    description="The phases of one request to the front.",
                    unit="s",
                    queries=[Query(f"probe_http_duration_seconds{{{ONE}}}", "{{phase}}")],
                    stacked=True,
                ),
                Panel(
                    title="Redis, commands",
                    description="All of them, of all clients.",
                    unit="ops",
                    queries=[
                        Query(
                            f"topk(8, {rate('redis_commands_total', 'cmd')})",
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
                        Query(rate("redis_cpu_user_seconds_total", "instance"), "user"),
                        Query(rate("redis_cpu_sys_seconds_total", "instance"), "system"),
                    ],
                    stacked=True,
                ),
                Panel(
                    title="PostgreSQL, connections",
                    description="By state; idle in transaction holds others up.",
                    unit="short",
                    queries=[
                        Query(f"sum by (state) (pg_stat_activity_count{{{ONE}}}) > 0", "{{state}}"),
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
                    queries=[Query(f"probe_success{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Certificate, days left",
                    description="14 are a ticket.",
                    unit="short",
                    queries=[
                        Query(
                            f"(probe_ssl_earliest_cert_expiry{{{ONE}}} - time()) / 86400",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="nginx is there",
                    description="Its exporter reaches it.",
                    unit="short",
                    queries=[Query(f"nginx_up{{{ONE}}}", "{{instance}}")],
                ),
            ],
        ),
        Row(
            "Redis",
            [
                Panel(
                    title="Redis is there",
                    description="Its exporter reaches it.",
                    unit="short",
                    queries=[Query(f"redis_up{{{ONE}}}", "{{instance}}")],
                ),
                Panel(
                    title="Memory",
                    description="And its limit, if it has one.",
                    unit="bytes",
                    queries=[
                        Query(f"redis_memory_used_bytes{{{ONE}}}", "used"),
                        Query(f"redis_memory_max_bytes{{{ONE}}} > 0", "limit"),
                    ],
                ),
                Panel(
                    title="Keys",
                    description="Streams of history, presence, the revocation log.",
                    unit="short",
                    queries=[Query(f"sum by (db) (redis_db_keys{{{ONE}}}) > 0", "{{db}}")],
                ),
                Panel(
                    title="Clients and channels",
                    description="Each gateway has three connections.",
                    unit="short",
                    queries=[
                        Query(f"redis_connected_clients{{{ONE}}}", "clients"),
                        Query(f"redis_pubsub_channels{{{ONE}}}", "channels"),
                    ],
                ),
                Panel(
                    title="Network",
                    description="In from publishers, out to every gateway that has a subscriber.",
                    unit="Bps",
                    queries=[
                        Query(rate("redis_net_input_bytes_total", "job"), "in"),
                        Query(rate("redis_net_output_bytes_total", "job"), "out"),
                    ],
                ),
                Panel(
                    title="Should not happen",
                    description="Keys evicted, connections rejected.",
                    unit="ops",
                    queries=[
                        Query(rate("redis_evicted_keys_total", "job"), "evicted"),
                        Query(rate("redis_rejected_connections_total", "job"), "rejected"),
                    ],
                ),
                Panel(
                    title="Last write to disk",
                    description="1 is good.",
                    unit="short",
                    queries=[
                        Query(f"redis_rdb_last_bgsave_status{{{ONE}}}", "snapshot"),
                        Query(f"redis_aof_last_write_status{{{ONE}}}", "append-only file"),
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
                        Query(rate("pg_stat_database_xact_commit", "job"), "committed"),
                        Query(rate("pg_stat_database_xact_rollback", "job"), "rolled back"),
                    ],
                ),
                Panel(
                    title="Rows",
                    description="Changed.",
                    unit="ops",
                    queries=[
                        Query(rate(f"pg_stat_database_tup_{what}", "job"), what)
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
                            f"{rate('pg_stat_database_blks_hit', 'job')} / ("
                            f"{rate('pg_stat_database_blks_hit', 'job')} + "
                            f"{rate('pg_stat_database_blks_read', 'job')})",
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
                            f"max by (datname) (pg_stat_activity_max_tx_duration{{{ONE}}})",
                            "{{datname}}",
                        )
                    ],
                ),
                Panel(
                    title="Size",
                    description="Of each database.",
                    unit="bytes",
                    queries=[Query(f"pg_database_size_bytes{{{ONE}}}", "{{datname}}")],
                ),
                Panel(
                    title="PostgreSQL is there",
                    description="And how many connections it may have.",
                    unit="short",
                    queries=[
                        Query(f"pg_up{{{ONE}}}", "up"),
                        Query(f"pg_settings_max_connections{{{ONE}}}", "max_connections"),
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
                            f"rate(process_cpu_seconds_total{{{ONE}}}{RATE})",
                            "{{job}} {{instance}}",
                        )
                    ],
                ),
                Panel(
                    title="Memory of processes",
                    description="Resident.",
                    unit="bytes",
                    queries=[
                        Query(f"process_resident_memory_bytes{{{ONE}}}", "{{job}} {{instance}}")
                    ],
                ),
                Panel(
                    title="Open files",
                    description="Share of what each may have.",
                    unit="percentunit",
                    queries=[
                        Query(
                            f"process_open_fds{{{ONE}}} / process_max_fds{{{ONE}}}",
                            "{{job}} {{instance}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)
