"""A thousand pairs that talk through Redis: what a message costs both gateways together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.accounting import cpu_of
from tests.benchmarks.gateway.front import front
from tests.benchmarks.gateway.generator import Delivered, Generator
from tests.benchmarks.gateway.ours import World, redis_server

PAIRS = 1_000
PER_SECOND = 10_000
_RECEIVERS, _SENDERS = 0, 1
_SECOND_US = 1_000_000
#: What is offered grows by so much until it is too much.
_STEP = 1.3
_FIRST_PER_SECOND = 2_000
#: A server keeps up while so large a share of what was offered arrives in time.
_KEPT_UP = 0.95


class Pairs:
    """One of each pair sends, at one of the gateways; the other one is told, perhaps at another.

    Args:
        stack: Ends everything.
        world: Where.
        namespace: Of the pairs' channels.
        proxied: Whether nginx stands between, and chooses the gateways.
    """

    def __init__(
        self, stack: ExitStack, world: World, *, namespace: str, proxied: bool = False
    ) -> None:
        channel = f"{namespace}:pair-{dialect.NUMBER}"
        redis = stack.enter_context(redis_server(world.directory))
        gateways = stack.enter_context(world.gateways.running(2, redis_url=redis.url))
        self.redis = [redis.pid]
        self.gateways = [gateway.pid for gateway in gateways]
        self._generator = stack.enter_context(Generator())
        self._message = dialect.publisher(channel).message
        senders, receivers = (gateway.port for gateway in gateways)
        if proxied:
            folder = world.directory / f"nginx-{namespace}"
            senders = receivers = stack.enter_context(front(folder, [senders, receivers]))
        self._open(_RECEIVERS, receivers, dialect.subscriber(channel), world)
        self._open(_SENDERS, senders, dialect.publisher(channel), world)
        self.talk(2 * PAIRS, _FIRST_PER_SECOND)  # every channel is known to all

    def _open(self, group: int, port: int, talk: dialect.Dialect, world: World) -> None:
        self._generator.group(group, port, talk, world.tokens)
        opened = self._generator.open(group, PAIRS)
        assert opened.opened == PAIRS, opened

    def talk(self, messages: int, per_second: float) -> Delivered:
        """Send at an even pace; the senders take turns."""
        return self._generator.publish(
            _SENDERS,
            self._message,
            expect=1,
            rounds=messages,
            interval_us=max(1, int(_SECOND_US / per_second)),
            senders=range(PAIRS),
        )


@dataclass(slots=True)
class Talk:
    """Repeated runs.

    Attributes:
        gateways: CPU seconds of both gateways for each message, a run each.
        redis: CPU seconds of Redis for each.
        generator: The generator's share of a core.
        per_second: Messages that arrived in a second.
    """

    gateways: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def talk(world: World, *, namespace: str, seconds: float, repeat: int) -> Talk:
    """Measure what messages cost, from one gateway to the other.

    Args:
        world: Where.
        namespace: Of the pairs' channels.
        seconds: How long each run.
        repeat: How many runs.
    """
    found = Talk()
    with ExitStack() as stack:
        pairs = Pairs(stack, world, namespace=namespace)
        for _ in range(repeat):
            before = cpu_of(pairs.gateways), cpu_of(pairs.redis)
            done = pairs.talk(int(seconds * PER_SECOND), PER_SECOND)
            after = cpu_of(pairs.gateways), cpu_of(pairs.redis)
            assert done.delivered == done.replies == done.sent, done
            found.gateways.append((after[0] - before[0]) / done.delivered)
            found.redis.append((after[1] - before[1]) / done.delivered)
            found.generator.append(done.cpu / done.seconds)
            found.per_second.append(done.delivered / done.seconds)
    return found


@dataclass(frozen=True, slots=True)
class Tail:
    """How long messages take through nginx and Redis.

    Attributes:
        most: Messages a second that were the most it kept up with.
        half: What came of half as many.
    """

    most: float
    half: Delivered


def keeps_up(done: Delivered, per_second: float) -> bool:
    """Say whether what was offered was delivered, all of it and at that pace."""
    return done.delivered == done.sent and done.sent / done.seconds >= _KEPT_UP * per_second


def offers(first: float = _FIRST_PER_SECOND, step: float = _STEP) -> Sequence[float]:
    """List what is offered, from what is little to what is too much, in messages a second."""
    return [first * step**n for n in range(20)]


def tail(world: World, *, seconds: float) -> Tail:
    """Find the maximum, and look at the delays at half of it.

    Args:
        world: Where.
        seconds: How long the run at half of it; those that look for it take a quarter.
    """
    with ExitStack() as stack:
        pairs = Pairs(stack, world, namespace="room", proxied=True)
        most = 0.0
        for offered in offers():
            done = pairs.talk(int(offered * seconds / 4), offered)
            if not keeps_up(done, offered):
                break
            most = offered
        assert most, "it does not keep up with the least"
        return Tail(most, pairs.talk(int(most / 2 * seconds), most / 2))
