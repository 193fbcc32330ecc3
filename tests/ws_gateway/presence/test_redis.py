"""What is special of presence between processes: deaths, lost connections, and what it costs."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import Proxy, until
from tests.ws_gateway.presence.conftest import ALICE, ALICE_AGAIN, BOB, Process, StartProcess
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.presence.base import Stats
from ws_gateway.presence.redis import PREFIX, _read_value, _write_value
from ws_gateway.protocol.messages import ClientInfo

NODES = PREFIX + b"nodes"


def keys(server: RedisServer, channel: str) -> list[bytes]:
    """Name what a channel has in Redis."""
    return sorted(server.ask("KEYS", PREFIX + b"?:{" + channel.encode() + b"}"))


async def told(process: Process) -> None:
    """Wait until Redis has taken everything."""
    presence = process.presence
    await until(lambda: presence._begun and not presence._untold and not presence._unsaved)
    await process.commands.request(b"PING")


def calls(server: RedisServer) -> int:
    """Count the scripts that were called so far."""
    stats = server.ask("INFO", "commandstats")
    return sum(stats[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval") if name in stats)


class TestSeveralProcesses:
    """What one says the others read."""

    async def test_entries_of_all_are_in_the_answer(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """A user who is in two processes is one."""
        one, other = [await start_process(redis_server.url) for _ in range(2)]
        one.presence.add("room", ALICE)
        other.presence.add("room", ALICE_AGAIN)
        other.presence.add("room", BOB)
        await told(one)

        assert await other.presence.stats("room") == Stats(clients=3, users=2)
        await told(other)
        assert await one.presence.members("room", 3) == {
            info.client: info for info in (ALICE, ALICE_AGAIN, BOB)
        }

    async def test_entries_of_one_that_ended_are_gone(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """Although nobody took them out one by one, and others have just seen it alive."""
        one = await start_process(redis_server.url)
        other = Process(redis_server.url)
        await other.start()
        other.presence.add("room", BOB)
        await told(other)
        one.presence.add("room", ALICE)
        assert await one.presence.stats("room") == Stats(clients=2, users=2)

        other.presence.remove("room", BOB.client)
        await other.stop()

        assert await one.presence.members("room", 3) == {ALICE.client: ALICE}

    async def test_entries_of_one_that_was_killed_vanish(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """After the time for which its last sign of life was good; nothing of it stays."""
        one = await start_process(redis_server.url, ttl=1)
        killed = Process(redis_server.url, ttl=1)
        await killed.start()
        for number in range(700):
            killed.presence.add("room", ClientInfo(user=f"u-{number}", client=f"k-{number}"))
        killed.presence.add("empty", BOB)
        await told(killed)
        one.presence.add("room", ALICE)
        assert await one.presence.stats("room") == Stats(clients=701, users=701)

        await killed.kill()
        await until(lambda: redis_server.ask("ZCARD", NODES) == 1)

        assert await one.presence.stats("room") == Stats(clients=1, users=1)
        assert await one.presence.stats("empty") == Stats(clients=0, users=0)
        assert keys(redis_server, "empty") == []
        assert redis_server.ask("HLEN", PREFIX + b"n:{room}") == 1

    async def test_killed_one_is_dead_for_who_has_seen_it_last(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """What a process remembers of the others' signs is not good for longer than they are."""
        one = await start_process(redis_server.url, ttl=1)
        killed = Process(redis_server.url, ttl=1)
        await killed.start()
        killed.presence.add("room", BOB)
        await told(killed)
        assert (await one.presence.stats("room")).clients == 1
        began = time.monotonic()
        await killed.kill()

        while (await one.presence.stats("room")).clients:  # noqa: ASYNC110 - Redis's clock
            await asyncio.sleep(0.02)

        assert time.monotonic() - began < 1.5

    async def test_last_seen_of_who_was_elsewhere(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """Now while he is; then when he went."""
        wall = time.time()
        one, other = [
            await start_process(redis_server.url, users=5, clock=lambda: wall) for _ in range(2)
        ]
        other.presence.arrive("bob")
        await told(other)
        assert await one.presence.last_seen("bob") == wall

        other.presence.depart("bob")
        await told(other)
        wall += 100

        assert await one.presence.last_seen("bob") == pytest.approx(wall - 100, abs=0.001)

    async def test_only_the_last_users_are_remembered(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """No key grows without bound."""
        process = await start_process(redis_server.url, users=2)
        for user in ("alice", "bob", "carol"):
            process.presence.arrive(user)
            process.presence.depart(user)
            await told(process)

        assert redis_server.ask("ZRANGE", PREFIX + b"seen", 0, -1) == [b"bob", b"carol"]


class TestAway:
    """While Redis is away the process keeps in mind what is true, and tells it afterwards."""

    async def test_nothing_can_be_asked_but_everything_said(
        self, proxy: Proxy, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """What happened meanwhile is there afterwards."""
        # A line that is cut again may leave a sign of life behind, which is good for that long.
        process = await start_process(proxy.url, ttl=6)
        presence = process.presence
        presence.add("room", ALICE)
        presence.add("room", BOB)
        await told(process)
        proxy.closed = True
        proxy.cut()
        await until(lambda: not process.commands.link.connected)

        presence.remove("room", BOB.client)
        presence.add("room", ALICE_AGAIN)
        for ask in (presence.members("room", 5), presence.stats("room"), presence.last_seen("a")):
            with pytest.raises(BrokerUnavailable):
                await ask
        proxy.closed = False

        await until(lambda: process.commands.link.connected)
        await told(process)
        assert await presence.members("room", 5) == {
            info.client: info for info in (ALICE, ALICE_AGAIN)
        }
        assert await presence.stats("room") == Stats(clients=2, users=1)
        await until(lambda: redis_server.ask("ZCARD", NODES) == 1)

    async def test_server_that_lost_everything_is_told_again(
        self, mortal_redis: RedisServer, start_process: StartProcess
    ) -> None:
        """As a restart without data, or a failover to an empty one."""
        process = await start_process(mortal_redis.url)
        for number in range(1200):
            process.presence.add(f"room:{number % 600}", ClientInfo(user="u", client=f"c-{number}"))
        await told(process)

        mortal_redis.kill()
        await until(lambda: not process.commands.link.connected)
        mortal_redis.start()
        await until(lambda: process.commands.link.connected)
        await told(process)

        for number in (0, 599):
            assert await process.presence.stats(f"room:{number}") == Stats(clients=2, users=1)

    async def test_keys_that_somebody_flushed_come_back(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """Without a lost connection: the next sign of life tells."""
        process = await start_process(redis_server.url, ttl=1)
        process.presence.add("room", ALICE)
        await told(process)

        redis_server.ask("FLUSHDB")

        await until(lambda: len(keys(redis_server, "room")) == 3)
        assert await process.presence.members("room", 1) == {ALICE.client: ALICE}

    async def test_scripts_that_somebody_flushed_come_back(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """Nothing is lost for it."""
        process = await start_process(redis_server.url)
        await told(process)

        redis_server.ask("SCRIPT", "FLUSH")
        process.presence.add("room", ALICE)

        async with asyncio.timeout(10):
            while not (await process.presence.stats("room")).clients:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def test_server_that_refuses_is_asked_again(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """A replica, or a full one: told when it takes something again; nothing is forgotten."""
        process = await start_process(redis_server.url)
        await told(process)
        redis_server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            process.presence.add("room", ALICE)
            process.presence.add("room", BOB)
            process.presence.remove("room", BOB.client)
            await until(lambda: process.presence._untold)
        finally:
            redis_server.ask("CONFIG", "SET", "min-replicas-to-write", "0")

        await until(lambda: len(keys(redis_server, "room")) == 3)
        await told(process)
        assert await process.presence.members("room", 5) == {ALICE.client: ALICE}

    async def test_late_one_is_another_node(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """A process that was stopped for too long: the others took its entries away already."""
        late, other = [await start_process(redis_server.url, ttl=1) for _ in range(2)]
        late.presence.add("room", ALICE)
        await told(late)
        before = late.presence._node

        redis_server.ask("ZREM", NODES, before)
        assert await other.presence.stats("room") == Stats(0, 0)
        await until(lambda: late.presence._node != before)
        await told(late)

        assert await other.presence.members("room", 5) == {ALICE.client: ALICE}


class TestCost:
    """What nobody asks for costs next to nothing."""

    async def test_entries_cost_nothing_while_nothing_happens(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """A sign of life each third of the time for which one is good, for any number of them.

        And a sixtieth of the channels at each, so that their keys are kept.
        """
        process = await start_process(redis_server.url, ttl=1)
        for number in range(600):
            process.presence.add(f"room:{number}", ClientInfo(user="u", client=f"c-{number}"))
        await told(process)
        before, beats = calls(redis_server), process.presence._beat_at

        await until(lambda: process.presence._beat_at > beats + 0.9)
        await told(process)

        signs = round((process.presence._beat_at - beats) * 3)
        assert calls(redis_server) - before <= signs * (1 + 600 / 60)

    async def test_keys_are_kept_and_end(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """What a process leaves that was killed and whose channels nobody looks at ends too."""
        process = await start_process(redis_server.url, ttl=60)
        process.presence.add("room", ALICE)
        await told(process)

        for key in keys(redis_server, "room"):
            assert 0 < redis_server.ask("PTTL", key) <= 3_600_000

    async def test_all_entries_are_said_again_in_turn(
        self, redis_server: RedisServer, start_process: StartProcess
    ) -> None:
        """After as many signs of life as a round has, every channel was."""
        process = await start_process(redis_server.url)
        for number in range(130):
            process.presence.add(f"room:{number}", ClientInfo(user="u", client=f"c-{number}"))
        await told(process)
        again: set[str] = set()

        for _ in range(60):
            process.presence._say_some_again()
            again |= set(process.presence._untold)
            process.presence._untold.clear()

        assert len(again) == 130


class TestForeignEntries:
    """Whoever can write to Redis can write anything: it is nobody's entry."""

    @pytest.mark.parametrize(
        "value", [b"", b"x", b"0123456789abcdef", b"0123456789abcdefzzzz", b"\xff" * 30]
    )
    async def test_it_is_passed_over(
        self, redis_server: RedisServer, start_process: StartProcess, value: bytes
    ) -> None:
        """The others are listed, and can be removed."""
        process = await start_process(redis_server.url)
        process.presence.add("room", ALICE)
        await told(process)
        redis_server.ask("HSET", PREFIX + b"e:{room}", "foreign", value)

        assert await process.presence.members("room", 5) == {ALICE.client: ALICE}

    def test_value_is_read_as_it_was_written(self) -> None:
        """Whole values; half of one is none."""
        value = _write_value(b"0123456789abcdef", ALICE)

        assert _read_value(b"c-1", value) == ALICE
        for length in range(len(value)):
            with pytest.raises(ValueError):  # noqa: PT011 - of any kind
                _read_value(b"c-1", value[:length])
