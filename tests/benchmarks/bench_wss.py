"""Thousands of sockets with TLS through nginx, on two gateways, for ten minutes.

    make bench PART=wss             18,000 for ten minutes, into docs/performance.md
    make bench PART=wss FAST=1      2,000 for half a minute, printed only

A stack of its own is started, with nginx, Redis and PostgreSQL as ``make up`` has them.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.embedded import certificate
from infra.load import tokens
from infra.stack.settings import Settings
from tests.benchmarks import report
from tests.benchmarks.crowd_process import Member
from tests.benchmarks.gateway.accounting import cpu_of, percentile, rss_of
from tests.benchmarks.own_stack import environment, gateway_names, members, own_stack
from tests.benchmarks.report import Row
from tests.benchmarks.timeline import Panel, timeline
from tests.benchmarks.tls_crowd import Plan

USERS, MEMBERS, EVERY = 1_000, 100, 10.0
PROCESSES, GATEWAYS, NGINX_WORKERS = 2, 2, 6
PER_SECOND = 200.0
REPORT_SECONDS = 5.0
OFFSET = 7_300  # below the ports that the system gives to clients
MIB = 2**20
_PROGRAM = "tests.benchmarks.tls_crowd"
_PER_MILLISECOND = 10  # of the crowd's resolution
_TITLE = "The gateway: sockets with TLS through nginx"


@dataclass(slots=True)
class Look:
    """One look at the servers.

    Attributes:
        at: By the monotonic clock.
        rss: Bytes, by part.
        cpu: Seconds used so far, by part.
    """

    at: float
    rss: dict[str, int]
    cpu: dict[str, float]


@contextmanager
def stack(directory: Path) -> Iterator[tuple[Settings, Mapping[str, list[int]]]]:
    """Start the stack; gives its settings, and the processes of its parts."""
    variables = environment(
        directory,
        offset=OFFSET,
        gateways=GATEWAYS,
        more={"NGINX_WORKERS": str(NGINX_WORKERS)},
    )
    with own_stack(variables) as settings:
        yield settings, members(settings, ["nginx", "redis", *gateway_names(settings)])


def plans(settings: Settings, *, count: int, seconds: float) -> list[Plan]:
    """Say what each process of the crowd has to do."""
    minted = tokens.mint(
        USERS,
        keys=tokens.stack_keys(settings.auth),
        issuer=settings.auth.issuer,
        audience=settings.auth.audience,
        lifetime_seconds=seconds + count / PER_SECOND + 600,
        now=time.time(),
    )
    return [
        Plan(
            port=settings.ports.tls,
            certificates=str(settings.local.path(certificate.CA).absolute()),
            tokens=list(minted),
            first=number,
            step=PROCESSES,
            count=count // PROCESSES,
            per_second=PER_SECOND / PROCESSES,
            members=MEMBERS,
            every=EVERY,
            report=REPORT_SECONDS,
        )
        for number in range(PROCESSES)
    ]


def look(parts: Mapping[str, list[int]]) -> Look:
    """Look at the servers now."""
    return Look(
        time.monotonic(),
        {name: sum(rss_of([pid]) for pid in pids[:1]) for name, pids in parts.items()},
        {name: cpu_of(pids[:1]) for name, pids in parts.items()},
    )


def measure(count: int, seconds: float) -> tuple[list[Row], str]:
    """Let the crowd come, listen and go; returns the rows and the picture."""
    with tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as name, ExitStack() as ends:
        settings, parts = ends.enter_context(stack(Path(name)))
        before = look(parts)
        crowd = [Member(_PROGRAM, plan) for plan in plans(settings, count=count, seconds=seconds)]
        for member in crowd:
            ends.callback(member.process.kill)
        looks = [before]
        waits: list[tuple[float, float]] = [(0.0, 0.0)]

        def look_again() -> None:
            lately: Counter[int] = Counter()
            for member in crowd:
                lately += member.told.lately
                member.told.lately = Counter()
            looks.append(look(parts))
            waits.append((percentile(lately, 0.5), percentile(lately, 0.99)))

        came = count // PROCESSES
        while any(
            member.told.last.get("subscribed", 0) + member.told.last.get("failed", 0) < came
            for member in crowd
        ):
            crowd[0].told.news.wait(60)
            crowd[0].told.news.clear()
            assert all(member.process.poll() is None for member in crowd), "the crowd has ended"
            look_again()
        full = len(looks)
        for member in crowd:
            member.say()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            crowd[0].told.news.wait(60)
            crowd[0].told.news.clear()
            look_again()
        for member in crowd:
            member.say()
        for member in crowd:
            member.end()
        return _rows(crowd, looks[full - 1 :], before, count), _picture(looks, waits)


def _rows(crowd: Sequence[Member], looks: Sequence[Look], before: Look, count: int) -> list[Row]:
    lasts = [member.told.last for member in crowd]
    failed, lost, sent, heard = (
        sum(last[what] for last in lasts) for what in ("failed", "lost", "sent", "heard")
    )
    delays: Counter[int] = Counter()
    for member in crowd:
        delays += member.told.delays
    first, last = looks[0], looks[-1]
    minutes = (last.at - first.at) / 60
    rows = [
        Row("sockets that came", f"{count - failed:,} of {count:,}", failed == 0, "all"),
        Row(f"lost in {minutes:.1f} minutes", str(lost), lost == 0, "none"),
        Row(
            f"deliveries of {sent:,} publications in rooms of {MEMBERS}",
            f"{heard:,} of {sent * MEMBERS:,}",
            heard >= sent * MEMBERS,
            "all",
        ),
    ]
    p50, p99 = (percentile(delays, part) / _PER_MILLISECOND for part in (0.5, 0.99))
    rows.append(Row("publish to delivery", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", True, ""))
    for name in before.rss:
        each = (last.rss[name] - before.rss[name]) / count / 1024
        used = (last.cpu[name] - first.cpu[name]) / (last.at - first.at)
        rows.append(
            Row(
                name,
                f"{last.rss[name] / MIB:,.0f} MiB, {each:.1f} KiB more for each of all sockets, "
                f"{(last.rss[name] - first.rss[name]) / MIB:+.1f} MiB since all had come; "
                f"{used:.1%} of a core",
                True,
                "",
            )
        )
    return rows


def _picture(looks: Sequence[Look], waits: Sequence[tuple[float, float]]) -> str:
    seconds = [one.at - looks[0].at for one in looks]
    names = list(looks[0].rss)
    shares: dict[str, list[float]] = {name: [0.0] for name in names}
    for former, one in itertools.pairwise(looks):
        for name in names:
            used = (one.cpu[name] - former.cpu[name]) / (one.at - former.at)
            shares[name].append(100 * used)
    return timeline(
        f"{_TITLE}: memory, CPU, delays",
        seconds,
        [
            Panel("MiB", {name: [one.rss[name] / MIB for one in looks] for name in names}),
            Panel("%", shares),
            Panel(
                "ms",
                {
                    "p50": [p50 / _PER_MILLISECOND for p50, _ in waits],
                    "p99": [p99 / _PER_MILLISECOND for _, p99 in waits],
                },
            ),
        ],
    )


def main() -> int:
    """Measure, and write the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="fewer and shorter, printed only")
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    count, seconds = (2_000, 30.0) if given.fast else (18_000, given.minutes * 60)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows, picture = measure(count, seconds)
    note = (
        f"`make bench PART=wss`. The crowd comes at {PER_SECOND:.0f} a second from many addresses "
        f"of loopback, with the tokens of {USERS:,} users; in each room one speaks every "
        f"{EVERY:.0f} seconds."
    )
    heading = f"{count:,} sockets, {NGINX_WORKERS} workers of nginx, {GATEWAYS} gateways"
    report.show(
        _TITLE,
        [(heading, rows)],
        save=not given.fast,
        pictures={heading: picture},
        notes=(note,),
    )
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
