"""What a connection costs: the CPU of its arrival, and the memory it takes while it is silent."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.gateway.crowd import Crowd, settle
from tests.benchmarks.gateway.ours import Kind, World


@dataclass(slots=True)
class Arrivals:
    """Handshakes, and what clients say first, several times.

    Attributes:
        new: CPU seconds of each connection whose token nobody has seen, a run each.
        seen: The same with tokens that had been there before.
        generator: The generator's share of a core.
    """

    new: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)


def arrivals(world: World, kind: Kind, *, count: int, repeat: int, awake: bool = True) -> Arrivals:
    """Measure the arrival of connections, with tokens that are new and then with the same again.

    Args:
        world: Where.
        kind: Of server; where it wants no tokens, the two differ by chance only.
        count: Connections of each run.
        repeat: How many runs.
        awake: Whether the clients' process does not sleep while answers are on their way; see
            `Room`.
    """
    found = Arrivals()
    with ExitStack() as stack:
        server = stack.enter_context(kind.start())
        crowd = Crowd(stack, server)
        for number in range(repeat + 1):
            tokens = world.issuer.tokens(count) if server.tokens else None
            for costs in (found.new, found.seen):
                crowd.bring(tokens)
                before = server.cpu
                opened = crowd.come(count, awake=awake)
                if number:  # the first has warmed things up
                    costs.append((server.cpu - before) / count)
                    found.generator.append(opened.cpu / opened.seconds)
                crowd.go()
    return found


def resident(world: World, kind: Kind, *, count: int) -> float:
    """Return the mean bytes of memory by which a server grows with each connection.

    Args:
        world: Where.
        kind: Of server.
        count: How many; a tenth as many are there when counting begins.
    """
    first = count // 10
    with ExitStack() as stack:
        server = stack.enter_context(kind.start())
        tokens: Path | None = world.issuer.tokens(count + first) if server.tokens else None
        crowd = Crowd(stack, server, tokens)
        crowd.come(first)
        settle(server.pids)
        before = server.rss
        crowd.come(count)
        settle(server.pids)
        return (server.rss - before) / count


def storm(world: World, kind: Kind, *, count: int) -> tuple[float, int]:
    """Let everybody come back at once.

    Args:
        world: Where.
        kind: Of server.
        count: How many.

    Returns:
        Seconds until all were served, and how many were not.
    """
    with ExitStack() as stack:
        server = stack.enter_context(kind.start())
        tokens = world.issuer.tokens(count) if server.tokens else None
        crowd = Crowd(stack, server, tokens)
        crowd.come(count)
        crowd.go()
        crowd.bring(tokens)
        opened = crowd.generator.open(0, count, inflight=count)
        return opened.seconds, count - opened.opened
