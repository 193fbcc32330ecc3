"""What the gateway costs, beside a floor in C and what others would choose instead.

    make bench PART=gateway             everything, into docs/performance.md
    make bench PART=fanout FAST=1       a part of it, a little, printed only

Parts: fanout, connect, memory, pairs. Beside the CPU of the servers stands the load generator's: a
generator that needs a whole core has measured itself. Anything else that the machine does shows:
compare within a table, and ratios rather than microseconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.gateway import ours, peers
from tests.benchmarks.gateway.accounting import Spread
from tests.benchmarks.gateway.arrivals import arrivals, resident
from tests.benchmarks.gateway.fanout import Comparison, compare
from tests.benchmarks.gateway.ours import World
from tests.benchmarks.gateway.pairs import talk

TITLE = "The gateway"
MICRO = 1e6
SMALL = 1_000
TOGETHER = 16
MAX_ALONE, MAX_TOGETHER = 1.3, 0.2
MAX_NEW, MAX_SEEN = 350e-6, 220e-6
MAX_RESIDENT = 4 * 1024
MAX_PAIRS = {"room": 35e-6, "kept": 40e-6}

Table = tuple[str, list[report.Row]]


def fanout(world: World) -> Iterator[Table]:
    """One publisher and rooms of two sizes."""
    first, *others = ours.kinds(world) + peers.kinds(world)
    for size in (SMALL, 10 * SMALL):
        rows = []
        # The smaller room shows what the others do.
        for kind in [first, *([] if size > SMALL else others)]:
            if kind.needs:
                rows.append(report.Row(kind.name, kind.needs, True, ""))
                continue
            ours_itself = kind is first
            for batch, target in ((1, MAX_ALONE), (TOGETHER, MAX_TOGETHER)):
                done = compare(
                    kind,
                    size=size,
                    deliveries=world.repeat(300_000, 60_000),
                    repeat=world.repeat(5, 3),
                    batch=batch,
                )
                rows.append(_fanout_row(done, batch, target if ours_itself else None))
        yield f"One publisher, {size:,} receive 100 bytes", rows


def _fanout_row(done: Comparison, batch: int, target: float | None) -> report.Row:
    together = "one at a time" if batch == 1 else f"{batch} ready together"
    figure = (
        f"{Spread.of(done.server.cpu).words(' µs', scale=MICRO, digits=2)} a delivery, "
        f"{done.ratio.words(digits=2)} times the floor's "
        f"{Spread.of(done.floor.cpu).words(' µs', scale=MICRO, digits=2)}; "
        f"{_share(done.server.generator)}"
    )
    if done.server.lost:
        figure += f"; {done.server.lost} lost"
    good = (target is None or done.ratio.median <= target) and not done.server.lost
    words = "" if target is None else f"≤ {target} times the floor"
    return report.Row(f"{done.server.name}, {together}", figure, good, words)


def _share(shares: list[float]) -> str:
    return f"generator {Spread.of(shares).median:.0%} of a core"


def connect(world: World) -> Iterator[Table]:
    """Arrivals."""
    found = arrivals(world, count=world.repeat(2_000, 1_000), repeat=world.repeat(5, 2))
    rows = []
    for what, costs, target in (
        ("token new (ES256)", found.new, MAX_NEW),
        ("token seen before", found.seen, MAX_SEEN),
    ):
        spread = Spread.of(costs)
        rows.append(
            report.Row(
                f"connect and 2 subscribes, {what}",
                f"{spread.words(' µs', scale=MICRO, digits=0)}; {_share(found.generator)}",
                spread.median <= target,
                f"≤ {target * MICRO:.0f} µs",
            )
        )
    yield "Arrivals, the FastAPI route and its dependency on each", rows


def memory(world: World) -> Iterator[Table]:
    """Silent connections."""
    count = world.repeat(10_000, 3_000)
    repeat = world.repeat(3)
    spread = Spread.of([resident(world, count=count) for _ in range(repeat)])
    row = report.Row(
        f"RSS of an idle connection, mean of {count:,}",
        spread.words(" KiB", scale=1 / 1024, digits=2),
        spread.median <= MAX_RESIDENT,
        f"≤ {MAX_RESIDENT / 1024:.0f} KiB",
    )
    yield "Memory: authenticated, 2 subscriptions, timers, presence", [row]


def pairs(world: World) -> Iterator[Table]:
    """One to one through Redis."""
    rows = []
    for namespace, target in MAX_PAIRS.items():
        found = talk(
            world, namespace=namespace, seconds=world.repeat(5, 2), repeat=world.repeat(5, 2)
        )
        spread = Spread.of(found.gateways)
        rates = [run.delivered / run.seconds for run in found.runs]
        figure = (
            f"{spread.words(' µs', scale=MICRO)} in both gateways, "
            f"{Spread.of(found.redis).words(' µs', scale=MICRO)} in Redis; "
            f"{Spread.of(rates).words(digits=0)} a second; {_share(found.generator)}"
        )
        history = "on" if namespace == "kept" else "off"
        rows.append(
            report.Row(
                f"a message and its reply, history {history}",
                figure,
                spread.median <= target,
                f"≤ {target * MICRO:.0f} µs",
            )
        )
    yield "1,000 pairs through Redis between two gateways, 10,000 messages a second offered", rows


PARTS: dict[str, Callable[[World], Iterator[Table]]] = {
    "fanout": fanout,
    "connect": connect,
    "memory": memory,
    "pairs": pairs,
}


def main() -> int:
    """Measure, and write the page if everything was measured; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="a little, and the page is left alone")
    parser.add_argument("--part", choices=PARTS, help="only this, and the page is left alone")
    given = parser.parse_args()
    chosen = [given.part] if given.part else list(PARTS)
    sections: list[Table] = []
    with (
        tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as name,
        ours.world(Path(name), fast=given.fast) as world,
    ):
        for part in chosen:
            sections += PARTS[part](world)
    report.show(TITLE, sections, save=not given.fast and not given.part)
    return 0 if all(row.good for _, rows in sections for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
