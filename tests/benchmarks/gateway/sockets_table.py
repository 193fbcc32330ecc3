"""The tables of what connections cost."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.gateway import ours, peers
from tests.benchmarks.gateway.accounting import Spread
from tests.benchmarks.gateway.arrivals import arrivals, resident, storm
from tests.benchmarks.gateway.idle import idle, stall
from tests.benchmarks.gateway.ours import Kind, World
from tests.benchmarks.gateway.tables import MICRO, MILLI, Table, share
from tests.benchmarks.report import Row

MAX_NEW, MAX_SEEN = 350e-6, 220e-6
KIB = 1024
MAX_RESIDENT = 4 * KIB
MAX_IDLE, MAX_ROUND_TRIPS = 0.03, 20
MAX_STALL = 0.020
STORM = 4_000


def _others(world: World) -> list[Kind]:
    """List those that are compared, unless figures are wanted soon."""
    return [] if world.fast else [kind for kind in peers.kinds(world) if "Redis" not in kind.name]


def connect(world: World) -> Iterator[Table]:
    """Arrivals."""
    table = Table("A connection arrives")
    count, repeat = world.choose(2_000, 500), world.choose(5)
    for awake in (True,) if world.fast else (True, False):
        found = arrivals(world, ours.present(world, None), count=count, repeat=repeat, awake=awake)
        for what, costs, target in (
            ("token new (ES256)", found.new, MAX_NEW),
            ("token seen before", found.seen, MAX_SEEN),
        ):
            spread = Spread.of(costs)
            rest = "" if awake else "; clients' process sleeps meanwhile"
            table.rows.append(
                Row(
                    f"Drawbridge, route and dependency, connect, 2 subscribes; {what}{rest}",
                    f"{spread.words(' µs', scale=MICRO, digits=0)}; {share(found.generator)}",
                    not awake or spread.median <= target,
                    f"≤ {target * MICRO:.0f} µs" if awake else "",
                )
            )
    for kind in _others(world):
        figure = kind.lacks
        if not figure:
            found = arrivals(world, kind, count=count, repeat=repeat)
            figure = Spread.of(found.new + found.seen).words(" µs", scale=MICRO, digits=0)
        table.rows.append(Row(f"{kind.name}, nobody asked who it is", figure, True, ""))
    yield table


def memory(world: World) -> Iterator[Table]:
    """Silent connections."""
    count = world.choose(10_000, 2_000)
    table = Table(f"RSS of an idle connection, mean of {count:,}")
    sizes = [
        resident(world, ours.present(world, None), count=count) for _ in range(world.choose(3))
    ]
    spread = Spread.of(sizes)
    table.rows.append(
        Row(
            "Drawbridge: authenticated, 2 subscriptions, timers, presence",
            spread.words(" KiB", scale=1 / KIB, digits=2),
            spread.median <= MAX_RESIDENT,
            f"≤ {MAX_RESIDENT / KIB:.0f} KiB",
        )
    )
    for kind in _others(world):
        figure = kind.lacks or f"{resident(world, kind, count=count) / KIB:.1f} KiB"
        table.rows.append(Row(f"{kind.name}, nothing of that", figure, True, ""))
    yield table


def quiet(world: World) -> Iterator[Table]:
    """What thousands cost that do nothing, and what they do to others."""
    count, seconds = world.choose(10_000, 2_000), world.choose(100, 10)
    table = Table("Thousands that are silent, come and go")
    found = idle(world, count=count, seconds=seconds)
    table.rows.append(
        Row(
            f"{count:,} silent connections, pings and presence in Redis, {seconds} s",
            f"{found.cpu:.1%} of a core; {found.pings:.0f} pings a second",
            found.cpu <= MAX_IDLE,
            f"≤ {MAX_IDLE:.0%}",
        )
    )
    table.rows.append(
        Row(
            "the same: round trips to Redis",
            f"{found.reads:.1f} a second, with {found.commands:.0f} commands",
            found.reads <= MAX_ROUND_TRIPS,
            f"≤ {MAX_ROUND_TRIPS}",
        )
    )
    many, churn = world.choose(17_900, 3_000), world.choose(100, 50)
    worst = stall(world, count=many, per_second=churn, seconds=world.choose(60, 10))
    table.rows.append(
        Row(
            f"longest delivery with {many:,} connections, {churn} a second come and go",
            f"{worst.gateway * MILLI:.0f} ms; the floor at the same time "
            f"{worst.machine * MILLI:.0f} ms",
            worst.gateway <= MAX_STALL,
            f"≤ {MAX_STALL * MILLI:.0f} ms",
        )
    )
    rush = world.choose(STORM, STORM // 4)
    waited, unserved = storm(world, ours.present(world, None), count=rush)
    table.rows.append(
        Row(
            f"{rush:,} reconnects at once",
            f"all served after {waited:.1f} s" if not unserved else f"{unserved} not served",
            not unserved,
            "all served",
        )
    )
    yield table
