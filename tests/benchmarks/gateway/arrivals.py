"""What a connection costs: the CPU of its arrival, and the memory it takes while it is silent."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.accounting import cpu_of, rss_of
from tests.benchmarks.gateway.dialect import Dialect
from tests.benchmarks.gateway.generator import Generator
from tests.benchmarks.gateway.ours import World
from tests.benchmarks.gateway.servers import public_port

#: A room that all are in and see each other in, and a channel of their own.
SUBSCRIBER = dialect.subscriber("seen:all", f"room:own-{dialect.NUMBER}")
_GROUP = 0
_QUIET_SECONDS = 0.3
_SETTLE_SECONDS = 20


@dataclass(slots=True)
class Arrivals:
    """Connect and two subscribes, several times.

    Attributes:
        new: CPU seconds of each connection whose token nobody has seen, a run each.
        seen: The same with tokens that had been there before.
        generator: The generator's share of a core.
    """

    new: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)


def settle(pid: int) -> None:
    """Wait until a process does nothing."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    before = -1.0
    while (now := cpu_of([pid])) != before and time.monotonic() < deadline:
        before = now
        time.sleep(_QUIET_SECONDS)


class Crowd:
    """Sockets of one gateway that come and go.

    Args:
        stack: Ends the generator.
        pid: Of the gateway.
        port: Of the gateway.
    """

    def __init__(self, stack: ExitStack, pid: int, port: int) -> None:
        self._generator = stack.enter_context(Generator())
        self._pid = pid
        self._port = port
        self.generator_share = 0.0

    def say(self, what: Dialect, tokens: Path) -> None:
        """Choose what those that come have to say."""
        self._generator.group(_GROUP, self._port, what, tokens)

    def come(self, count: int) -> float:
        """Open sockets; returns the gateway's CPU seconds of each."""
        before = cpu_of([self._pid])
        opened = self._generator.open(_GROUP, count)
        assert opened.opened == count, opened
        self.generator_share = opened.cpu / opened.seconds
        return (cpu_of([self._pid]) - before) / count

    def go(self) -> None:
        """Close all, and wait until the gateway is through with that."""
        self._generator.ask("close", _GROUP)
        settle(self._pid)


def arrivals(world: World, *, count: int, repeat: int) -> Arrivals:
    """Measure the arrival of connections, with tokens that are new and then with the same again.

    Args:
        world: Where.
        count: Connections of each run.
        repeat: How many runs.
    """
    found = Arrivals()
    with ExitStack() as stack:
        (gateway,) = stack.enter_context(world.gateways.running())
        crowd = Crowd(stack, gateway.process.pid, public_port(gateway))
        for number in range(repeat + 1):
            tokens = world.issuer.tokens(count)
            for costs in (found.new, found.seen):
                crowd.say(SUBSCRIBER, tokens)
                cost = crowd.come(count)
                if number:  # the first has warmed things up
                    costs.append(cost)
                    found.generator.append(crowd.generator_share)
                crowd.go()
    return found


def resident(world: World, *, count: int) -> float:
    """Return the mean bytes of memory by which a gateway grows with each connection.

    Args:
        world: Where.
        count: How many; a tenth as many are there when counting begins.
    """
    first = count // 10
    with ExitStack() as stack:
        (gateway,) = stack.enter_context(world.gateways.running())
        pid = gateway.process.pid
        crowd = Crowd(stack, pid, public_port(gateway))
        crowd.say(SUBSCRIBER, world.issuer.tokens(count + first))
        crowd.come(first)
        settle(pid)
        before = rss_of([pid])
        crowd.come(count)
        settle(pid)
        return (rss_of([pid]) - before) / count
