"""A rolling restart of three gateways under thousands of clients of the official Python SDK.

    make bench PART=restart             5,000 in 500 rooms, into docs/performance.md
    make bench PART=restart FAST=1      300 in 30 rooms, printed only

A stack of its own is started, with nginx, Redis and PostgreSQL as ``make up`` has them, and then
told another setting, so that ``make up`` restarts each gateway in turn: nginx forgets it, it asks
its clients to come back elsewhere, ends, and works again before the next one's turn.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from typing_extensions import override

from infra.embedded import certificate
from infra.load import tokens
from infra.stack import operations
from infra.stack.settings import Settings
from tests.benchmarks import report
from tests.benchmarks.crowd_process import Member
from tests.benchmarks.following import Room, together
from tests.benchmarks.gateway.accounting import cpu_of, percentile, rss_of
from tests.benchmarks.own_stack import environment, gateway_names, own_stack
from tests.benchmarks.pace import busiest, course
from tests.benchmarks.report import Row
from tests.benchmarks.restart_crowd import Plan
from tests.benchmarks.timeline import Panel, timeline

USERS, GATEWAYS, PROCESSES = 1_000, 3, 2
PER_SECOND, SPEECH = 40.0, 20.0
OFFSET = 5_300
SECONDS_A_CLIENT = 0.012  # of each drain: what two cores bear beside the clients
STEADY_SECONDS = 10.0
REPORT_SECONDS = 2.0
WINDOW = 5
MARGIN = 1.15
_PROGRAM = "tests.benchmarks.restart_crowd"
_DRAIN = "GATEWAY_DRAIN_SECONDS"
_PER_SECOND = 10_000  # of the crowd's resolution
_SHUTDOWN = 3001
_LEAST_PACE = 20.0  # of a drain, see ws_gateway/drain.py
_TITLE = "The gateway: a rolling restart"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a run is.

    Attributes:
        clients: How many.
        rooms: In so many rooms.
        drain: Seconds over which a gateway sends its clients away.
    """

    clients: int
    rooms: int
    drain: float


class Gateways:
    """How many connections each gateway has.

    Args:
        settings: Of the stack.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = httpx2.Client(trust_env=False, timeout=2)
        self._addresses = {
            name: f"http://127.0.0.1:{settings.ports.gateway_internal(number)}/metrics"
            for number, name in enumerate(gateway_names(settings), 1)
        }

    def connections(self) -> dict[str, int]:
        """Ask them; one that does not answer has none."""
        return {name: self._ask(address) for name, address in self._addresses.items()}

    def close(self) -> None:
        """Ask no more."""
        self._http.close()

    def _ask(self, address: str) -> int:
        try:
            text = self._http.get(address).text
        except httpx2.TransportError:
            return 0
        lines = [line.split() for line in text.splitlines()]
        return next(
            (int(float(line[1])) for line in lines if line[:1] == ["gateway_connections"]), 0
        )


def plans(settings: Settings, size: Size) -> list[Plan]:
    """Say what each process of the crowd has to do."""
    minted = tokens.mint(
        USERS,
        keys=tokens.stack_keys(settings.auth),
        issuer=settings.auth.issuer,
        audience=settings.auth.audience,
        lifetime_seconds=3600,
        now=time.time(),
    )
    return [
        Plan(
            url=f"wss://localhost:{settings.ports.tls}/connection/websocket",
            certificates=str(settings.local.path(certificate.CA).absolute()),
            tokens=list(minted),
            first=number,
            step=PROCESSES,
            count=size.clients // PROCESSES,
            per_second=PER_SECOND / PROCESSES,
            rooms=size.rooms,
            speech=SPEECH / PROCESSES,
            report=REPORT_SECONDS,
        )
        for number in range(PROCESSES)
    ]


def measure(size: Size) -> tuple[list[Row], str]:
    """Let the crowd come, restart all gateways, and count; returns the rows and the picture."""
    with tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as name, ExitStack() as ends:
        variables = environment(
            Path(name), offset=OFFSET, gateways=GATEWAYS, more={_DRAIN: f"{size.drain:g}"}
        )
        settings = ends.enter_context(own_stack(variables))
        gateways = Gateways(settings)
        ends.callback(gateways.close)
        crowd = [Member(_PROGRAM, plan) for plan in plans(settings, size)]
        for member in crowd:
            ends.callback(member.process.kill)
        _await_all(crowd, size.clients // PROCESSES)
        for member in crowd:
            member.say()
        looks = [(time.monotonic(), gateways.connections())]
        pids = [member.process.pid for member in crowd]
        before = time.monotonic(), cpu_of(pids)
        crowd_memory = rss_of(pids)
        _look_for(STEADY_SECONDS, gateways, looks)
        # Any setting would do; what it is about does not matter here.
        changed = {**variables, "GATEWAY_LOG_LINES_PER_MINUTE": "601"}
        restarting = _Restart(changed)
        restarting.start()
        while restarting.is_alive():
            _look_for(1.0, gateways, looks)
        restarting.check()
        share = (cpu_of(pids) - before[1]) / (time.monotonic() - before[0])
        _look_for(STEADY_SECONDS, gateways, looks)
        for _ in range(2):
            for member in crowd:
                member.say()
            time.sleep(STEADY_SECONDS)
        for member in crowd:
            member.end()
        costs = Row(
            f"the clients' own {PROCESSES} processes",
            f"{crowd_memory / size.clients / 1024:.0f} KiB for each client, Python itself in it; "
            f"{share:.0%} of a core in the mean",
            True,
            "",
        )
        return [*_rows(crowd, looks, size), costs], _picture(crowd, looks)


class _Restart(threading.Thread):
    """``make up`` with other settings."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__()
        self._variables = variables
        self._error: Exception | None = None

    @override
    def run(self) -> None:
        try:
            operations.up(self._variables)
        except Exception as error:  # noqa: BLE001 - raised again where it is looked at
            self._error = error

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error


def _await_all(crowd: Sequence[Member], count: int) -> None:
    while any(
        member.told.last.get("came", 0) + member.told.last.get("failed", 0) < count
        for member in crowd
    ):
        crowd[0].told.news.wait(60)
        crowd[0].told.news.clear()
        assert all(member.process.poll() is None for member in crowd), "the crowd has ended"


def _look_for(
    seconds: float, gateways: Gateways, looks: list[tuple[float, dict[str, int]]]
) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, seconds))
        looks.append((time.monotonic(), gateways.connections()))


def _counts(crowd: Sequence[Member], what: str) -> Counter[int]:
    total: Counter[int] = Counter()
    for member in crowd:
        total += Counter({int(key): count for key, count in member.told.last[what].items()})
    return total


def _rows(
    crowd: Sequence[Member], looks: Sequence[tuple[float, dict[str, int]]], size: Size
) -> list[Row]:
    lasts: list[dict[str, Any]] = [member.told.last for member in crowd]
    came, failed, heard, acknowledged, unanswered, silent = (
        sum(last[what] for last in lasts)
        for what in ("came", "failed", "heard", "acknowledged", "unanswered", "silent")
    )
    closes, returns, codes, away = (
        _counts(crowd, what) for what in ("closes", "returns", "codes", "away")
    )
    rooms = together(
        {room: Room(**known) for room, known in last["rooms"].items()} for last in lasts
    )
    for last in lasts:
        for room, count in last["elsewhere"].items():
            rooms[room].acknowledged += count
    delays: Counter[int] = Counter()
    for member in crowd:
        delays += member.told.delays
    most = max(count for _, each in looks for count in each.values())
    pace = max(_LEAST_PACE, most / size.drain)
    incomplete = sum(room.incomplete for room in rooms.values())
    twice = sum(room.twice for room in rooms.values())
    told = sum(room.told for room in rooms.values())
    others = ", ".join(f"{code} ({count})" for code, count in codes.items() if code != _SHUTDOWN)
    asked = busiest(closes, WINDOW)
    return [
        Row("clients that came", f"{came:,} of {size.clients:,}", failed == 0, "all"),
        Row(
            "closes with 3001; with another code",
            f"{codes[_SHUTDOWN]:,}; {others or 'none'}",
            not others,
            "none",
        ),
        Row(
            f"closes a second, the busiest {WINDOW} s",
            f"{asked:.1f} (in one second {busiest(closes, 1):.0f})",
            asked <= pace * MARGIN,
            f"{pace:.1f}: {most:,} connections in {size.drain:g} s, and {MARGIN - 1:.0%} more",
        ),
        Row(
            f"reconnects a second, the busiest {WINDOW} s",
            f"{busiest(returns, WINDOW):.1f} (in one second {busiest(returns, 1):.0f})",
            busiest(returns, WINDOW) <= pace * MARGIN,
            "the same",
        ),
        Row("away, from the close to the new subscription", _times(away), True, ""),
        Row(
            "publications acknowledged; without an answer; with nobody there to make them",
            f"{acknowledged:,}; {unanswered:,}; {silent:,}",
            True,
            "",
        ),
        Row(
            "rooms of which a subscriber lacks something",
            f"{incomplete} of {len(rooms)}",
            incomplete == 0,
            "none",
        ),
        Row("subscribers that were told of a gap", str(told), told == 0, "none"),
        Row("deliveries; received twice", f"{heard:,}; {twice}", twice == 0, "none twice"),
        Row("publish to delivery, recovered ones too", _times(delays), True, ""),
    ]


def _times(histogram: Mapping[int, int]) -> str:
    if not histogram:
        return "none"
    p50, p99 = (1000 * percentile(histogram, part) / _PER_SECOND for part in (0.5, 0.99))
    most = 1000 * max(histogram) / _PER_SECOND
    return f"p50 {p50:,.1f} ms, p99 {p99:,.0f} ms, max {most:,.0f} ms"


def _picture(crowd: Sequence[Member], looks: Sequence[tuple[float, dict[str, int]]]) -> str:
    first, last = math.floor(looks[0][0]), math.ceil(looks[-1][0])
    seconds = [float(second - first) for second in range(first, last + 1)]
    by_second = {int(at): each for at, each in looks}
    slowest: dict[int, float] = {}
    for member in crowd:
        for second, delay in member.told.last["slowest"].items():
            slowest[int(second)] = max(slowest.get(int(second), 0.0), delay)
    connections: dict[str, list[float]] = {name: [] for name in looks[0][1]}
    now = looks[0][1]
    for second in range(first, last + 1):
        now = by_second.get(second, now)
        for name, count in now.items():
            connections[name].append(float(count))
    return timeline(
        f"{_TITLE} of three",
        seconds,
        [
            Panel("open", connections),
            Panel(
                "per s",
                {
                    "closes": course(_counts(crowd, "closes"), first, last),
                    "reconnects": course(_counts(crowd, "returns"), first, last),
                },
            ),
            Panel(
                "s",
                {"slowest delivery": [slowest.get(s, 0.0) for s in range(first, last + 1)]},
            ),
        ],
    )


def main() -> int:
    """Measure, and write the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="a few, printed only")
    parser.add_argument("--clients", type=int, default=5_000)
    given = parser.parse_args()
    size = (
        Size(300, 30, 5.0)
        if given.fast
        else Size(given.clients, 500, given.clients * SECONDS_A_CLIENT)
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    load = os.getloadavg()[0]
    rows, picture = measure(size)
    heading = f"Rolling restart of {GATEWAYS} gateways"
    about = (
        f"`make bench PART=restart`. {size.clients:,} clients of the official Python SDK as it is, "
        f"in {PROCESSES} processes, follow {size.rooms} rooms with history through nginx; "
        f"{SPEECH:g} publications a second. Each gateway drains over {size.drain:g} s. A "
        "subscriber has everything if its offsets have no gap and end where its room ends; times "
        "are those of the clients, whose processes share the cores with the servers. "
        f"The machine's load was {load:.1f} before it began."
    )
    report.show(
        _TITLE,
        [(heading, rows)],
        save=not given.fast,
        pictures={heading: picture},
        notes=(about,),
    )
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
