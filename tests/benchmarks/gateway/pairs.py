"""A thousand pairs that talk through Redis: what a message costs both gateways together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.accounting import cpu_of
from tests.benchmarks.gateway.generator import Delivered, Generator
from tests.benchmarks.gateway.ours import World, redis_server
from tests.benchmarks.gateway.servers import public_port

PAIRS = 1_000
PER_SECOND = 10_000
_RECEIVERS, _SENDERS = 0, 1
_SECOND_US = 1_000_000


@dataclass(slots=True)
class Talk:
    """Repeated runs.

    Attributes:
        gateways: CPU seconds of both gateways for each message, a run each.
        redis: CPU seconds of Redis for each.
        generator: The generator's share of a core.
        runs: What was delivered.
    """

    gateways: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    runs: list[Delivered] = field(default_factory=list)


def talk(
    world: World, *, namespace: str, seconds: float, repeat: int, per_second: int = PER_SECOND
) -> Talk:
    """Have one of each pair send from the first gateway to the other one at the second.

    Args:
        world: Where.
        namespace: Of the pairs' channels.
        seconds: How long each run.
        repeat: How many runs.
        per_second: Messages offered, of all pairs together.
    """
    found = Talk()
    channel = f"{namespace}:pair-{dialect.NUMBER}"
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(world.directory))
        gateways = stack.enter_context(world.gateways.running(2, redis=redis))
        pids = [gateway.process.pid for gateway in gateways]
        ports = [public_port(gateway) for gateway in gateways]
        generator = stack.enter_context(Generator())
        sender = dialect.publisher(channel)
        generator.group(_RECEIVERS, ports[1], dialect.subscriber(channel), world.tokens)
        generator.group(_SENDERS, ports[0], sender, world.tokens)
        for group in (_RECEIVERS, _SENDERS):
            opened = generator.open(group, PAIRS)
            assert opened.opened == PAIRS, opened

        def run(rounds: int) -> Delivered:
            return generator.publish(
                _SENDERS,
                sender.message,
                expect=1,
                rounds=rounds,
                interval_us=_SECOND_US // per_second,
                senders=range(PAIRS),
            )

        run(2 * PAIRS)  # every channel is known to both, and to Redis
        for _ in range(repeat):
            before = cpu_of(pids), cpu_of([redis.pid])
            done = run(int(seconds * per_second))
            after = cpu_of(pids), cpu_of([redis.pid])
            assert done.delivered == done.replies == done.sent, done
            found.gateways.append((after[0] - before[0]) / done.delivered)
            found.redis.append((after[1] - before[1]) / done.delivered)
            found.generator.append(done.cpu / done.seconds)
            found.runs.append(done)
    return found
