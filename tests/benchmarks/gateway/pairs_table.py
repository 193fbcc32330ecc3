"""The tables of messages from one to one, through Redis."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.gateway.accounting import Spread, percentile
from tests.benchmarks.gateway.ours import World
from tests.benchmarks.gateway.pairs import PAIRS, PER_SECOND, tail, talk
from tests.benchmarks.gateway.tables import MICRO, Table, share
from tests.benchmarks.report import Row

MAX_PLAIN, MAX_KEPT = 35e-6, 40e-6
#: How many times the median the slowest hundredth may take.
MAX_TAIL = 3.0
_POINTS = 1_000


def pairs(world: World) -> Iterator[Table]:
    """What a message costs."""
    table = Table(f"{PAIRS:,} pairs at two gateways, {PER_SECOND:,} messages a second offered")
    for history, namespace, target in (("off", "room", MAX_PLAIN), ("on", "kept", MAX_KEPT)):
        found = talk(
            world,
            namespace=namespace,
            seconds=world.choose(5, 2),
            repeat=world.choose(5, 2),
        )
        spread = Spread.of(found.gateways)
        table.rows.append(
            Row(
                f"a message and its reply, history {history}",
                f"{spread.words(' µs', scale=MICRO)} in both gateways, "
                f"{Spread.of(found.redis).words(' µs', scale=MICRO)} in Redis; "
                f"{Spread.of(found.per_second).words(digits=0)} a second arrived; "
                f"{share(found.generator)}",
                spread.median <= target,
                f"≤ {target * MICRO:.0f} µs",
            )
        )
    yield table


def delays(world: World) -> Iterator[Table]:
    """How long a message takes."""
    table = Table("Pairs through nginx and Redis, at half of the maximum")
    found = tail(world, seconds=world.choose(20, 2))
    histogram = found.half.histogram
    p50, p99 = (percentile(histogram, part) / 1e3 for part in (0.5, 0.99))
    table.rows.append(
        Row("the most that arrived in time", f"{found.most:,.0f} messages a second", True, "")
    )
    table.rows.append(
        Row(
            f"p99 at {found.most / 2:,.0f} a second",
            f"{p99:.1f} ms, {p99 / p50:.1f} times p50 ({p50:.2f} ms); "
            f"longest {found.half.longest_us / 1e3:.0f} ms",
            p99 <= MAX_TAIL * p50 and found.half.delivered == found.half.sent,
            f"≤ {MAX_TAIL:.0f} times p50",
        )
    )
    table.waits["publish to delivery"] = [
        percentile(histogram, point / _POINTS) / MICRO for point in range(1, _POINTS + 1)
    ]
    table.allowed = MAX_TAIL * p50 / 1e3
    yield table
