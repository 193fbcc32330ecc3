"""Whether a delivery costs more where there is more of everything."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.accounting import Spread, ratios
from tests.benchmarks.gateway.fanout import Room, Runs, compare
from tests.benchmarks.gateway.ours import OWN, ROOM, Kind, World, drawbridge

_OWN_CHANNELS = 10


@dataclass(frozen=True, slots=True)
class Growth:
    """How many times as much a delivery costs.

    Attributes:
        server: In the server.
        floor: In the floor.
    """

    server: float
    floor: float


def with_connections(kind: Kind, *, few: int, many: int, deliveries: int, repeat: int) -> Growth:
    """Compare a small room with one that is as large as a process can take."""
    small, large = (
        compare(kind, size=size, deliveries=deliveries, repeat=repeat) for size in (few, many)
    )

    def growth(one: list[float], other: list[float]) -> float:
        return Spread.of(other).median / Spread.of(one).median

    return Growth(
        growth(small.alone.cpu, large.alone.cpu), growth(small.floor.cpu, large.floor.cpu)
    )


def with_channels(world: World, *, size: int, deliveries: int, repeat: int) -> Spread:
    """Compare a room whose members are in few other channels with one where each has its own ten.

    Returns:
        How many times as much a delivery costs where there are ten times as many channels as
        connections. The two take turns.
    """
    few = dialect.subscriber(ROOM, *(f"room:shared-{n}" for n in range(_OWN_CHANNELS)))
    many = dialect.subscriber(ROOM, *(f"{OWN}-{n}" for n in range(_OWN_CHANNELS)))
    with ExitStack() as stack:
        rooms = []
        for talk in (few, many):
            server = stack.enter_context(drawbridge(world).start())
            rooms.append((Room(stack, replace(server, receives=talk), size), Runs()))
        for _ in range(repeat):
            for room, runs in rooms:
                room.run(runs, deliveries // size)
        (_, cheap), (_, dear) = rooms
        return ratios(dear.cpu, cheap.cpu)
