"""The tables of what deliveries cost."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.gateway import ours, peers
from tests.benchmarks.gateway.accounting import Spread
from tests.benchmarks.gateway.fanout import Comparison, compare
from tests.benchmarks.gateway.growth import with_channels, with_connections
from tests.benchmarks.gateway.ours import World
from tests.benchmarks.gateway.tables import MICRO, Table, share
from tests.benchmarks.report import Row

SMALL, LARGE, LARGEST = 1_000, 10_000, 18_000
TOGETHER = 16
MAX_ALONE, MAX_TOGETHER = 1.3, 0.2
MAX_GROWTH = 1.2


def fanout(world: World) -> Iterator[Table]:
    """One publisher, and rooms of two sizes; the smaller one is for every server."""
    drawbridge = ours.drawbridge(world)
    others = [*ours.variants(world), *peers.kinds(world)]
    for size, kinds in ((SMALL, [drawbridge, *others]), (LARGE, [drawbridge])):
        table = Table(f"One publisher, {size:,} receive 100 bytes")
        for kind in kinds:
            if kind.lacks:
                table.rows.append(Row(kind.name, kind.lacks, True, ""))
                continue
            mine = kind is drawbridge
            most, least = (200_000, 5_000) if mine else (20_000, 2_000)
            try:
                done = compare(
                    kind,
                    size=size,
                    deliveries=world.choose(most, least),
                    repeat=world.choose(5, 2 if mine else 1),
                    together=TOGETHER if mine or not world.fast else 0,
                )
            except AssertionError as error:
                if kind.name.startswith(drawbridge.name.partition(",")[0]):
                    raise
                # One of the others is no reason to do without the rest.
                table.rows.append(Row(kind.name, f"not measured: {error}", True, ""))
                continue
            table.rows += _rows(kind.name, done, targets=mine)
            table.bars["floor, in C"] = Spread.of(done.floor.cpu)
            table.bars[kind.name] = Spread.of(done.alone.cpu)
            if mine and size == SMALL and not world.fast:
                asleep = compare(kind, size=size, deliveries=most, repeat=5, awake=False)
                name = f"{kind.name}, to clients whose process sleeps meanwhile"
                table.rows += _rows(name, asleep, targets=False)
        yield table


def _rows(name: str, done: Comparison, *, targets: bool) -> Iterator[Row]:
    for what, runs, target in (
        ("one at a time", done.alone, MAX_ALONE),
        (f"{TOGETHER} ready together", done.together, MAX_TOGETHER),
    ):
        if runs is None:
            continue
        ratio = done.ratio(runs)
        figure = (
            f"{ratio.words(digits=2)} times the floor: "
            f"{Spread.of(runs.cpu).words(' µs', scale=MICRO, digits=2)} a delivery beside "
            f"{Spread.of(done.floor.cpu).words(' µs', scale=MICRO, digits=2)}; "
            f"p50 {runs.quantile_ms(0.5):.1f} ms, p99 {runs.quantile_ms(0.99):.1f} ms; "
            f"{share(runs.generator)}"
        )
        if runs.lost:
            figure += f"; {runs.lost} lost"
        good = (not targets or ratio.median <= target) and not runs.lost
        yield Row(f"{name}, {what}", figure, good, f"≤ {target} times" if targets else "")


def growth(world: World) -> Iterator[Table]:
    """More connections, and more channels."""
    table = Table("What a delivery costs where there is more of everything")
    largest = world.choose(LARGEST, 3 * SMALL)
    deliveries, repeat = world.choose(200_000, 10_000), world.choose(5, 2)
    found = with_connections(
        ours.drawbridge(world), few=SMALL, many=largest, deliveries=deliveries, repeat=repeat
    )
    table.rows.append(
        Row(
            f"{largest:,} connections in the room, after {SMALL:,}",
            f"{found.server:.2f} times as much; the floor {found.floor:.2f} times",
            found.server <= MAX_GROWTH * found.floor,
            f"≤ {MAX_GROWTH} times the floor's growth",
        )
    )
    ratio = with_channels(world, size=SMALL, deliveries=deliveries, repeat=repeat)
    table.rows.append(
        Row(
            f"{10 * SMALL:,} other channels, after 10",
            f"{ratio.words(digits=2)} times as much",
            ratio.median <= MAX_GROWTH,
            f"≤ {MAX_GROWTH} times",
        )
    )
    yield table
