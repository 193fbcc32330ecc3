"""Thousands of connections that only answer pings, and what others wait for while some leave."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.crowd import GROUP, Crowd, settle
from tests.benchmarks.gateway.generator import Generator
from tests.benchmarks.gateway.ours import World, present, redis_server
from tests.benchmarks.gateway.servers import Server, floor
from tests.redis_server import RedisServer

_RECEIVER, _SENDER = 0, 1
_ROOM = "room:probe"


@dataclass(frozen=True, slots=True)
class Idle:
    """A gateway with silent connections.

    Attributes:
        cpu: Its share of a core.
        pings: How many were answered in a second.
        reads: How often Redis read from a connection in a second: the round trips.
        commands: How many commands it was sent in a second.
    """

    cpu: float
    pings: float
    reads: float
    commands: float


def idle(world: World, *, count: int, seconds: float) -> Idle:
    """Watch silent connections.

    Args:
        world: Where.
        count: How many.
        seconds: For how long.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(world.directory))
        server = stack.enter_context(present(world, redis).start())
        crowd = Crowd(stack, server, world.issuer.tokens(count))
        crowd.come(count)
        settle(server.pids)
        cpu, (reads, commands), begin = server.cpu, _asked(redis), time.monotonic()
        answered = crowd.generator.ask("rest", int(seconds * 1000))
        passed = time.monotonic() - begin
        assert answered["lost"] == 0, answered
        used, (more_reads, more_commands) = server.cpu - cpu, _asked(redis)
        # The question itself is a connection with one command, and one read.
        return Idle(
            used / passed,
            answered["pings"] / passed,
            (more_reads - reads - 1) / passed,
            (more_commands - commands - 1) / passed,
        )


def _asked(redis: RedisServer) -> tuple[int, int]:
    found = redis.ask("INFO", "stats")
    return int(found["total_reads_processed"]), int(found["total_commands_processed"])


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest that one message took while thousands were there and some came and went.

    Attributes:
        gateway: In the gateway, in seconds.
        machine: In the floor at the same time, which has nothing else to do: what is the machine's.
        churned: How many came and went.
    """

    gateway: float
    machine: float
    churned: int


def stall(world: World, *, count: int, per_second: int, seconds: int) -> Stall:
    """Send a message every few milliseconds, and look for the longest delivery.

    Args:
        world: Where.
        count: How many connections are there.
        per_second: How many of them are replaced in a second.
        seconds: For how long.
    """
    interval_us = 2_000
    with ExitStack() as stack:
        server = stack.enter_context(present(world, None).start())
        crowd = Crowd(stack, server, world.issuer.tokens(count))
        crowd.come(count)
        probes = [
            _probe(stack, server, dialect.subscriber(_ROOM), dialect.publisher(_ROOM)),
            _probe(stack, stack.enter_context(floor()), dialect.PLAIN, dialect.PLAIN),
        ]
        settle(server.pids)
        rounds = seconds * 1_000_000 // interval_us
        crowd.generator.tell("churn", GROUP, per_second, seconds)
        messages = (dialect.publisher(_ROOM).message, dialect.PLAIN.message)
        for probe, message in zip(probes, messages, strict=True):
            probe.begin_publishing(
                _SENDER, message, expect=1, rounds=rounds, interval_us=interval_us
            )
        done = [probe.published() for probe in probes]
        assert all(one.delivered == rounds for one in done), done
        longest = [one.longest_us / 1e6 for one in done]
        churned = crowd.generator.answer()
        assert churned["failed"] == churned["lost"] == 0, churned
        return Stall(longest[0], longest[1], per_second * seconds)


def _probe(
    stack: ExitStack, server: Server, receives: dialect.Dialect, sends: dialect.Dialect
) -> Generator:
    generator = stack.enter_context(Generator())
    for group, talk in ((_RECEIVER, receives), (_SENDER, sends)):
        generator.group(group, server.ports[0], talk, server.tokens)
        assert generator.open(group, 1).opened == 1
    return generator
