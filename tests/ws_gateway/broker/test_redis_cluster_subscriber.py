"""Channels of a cluster: they go where their slot goes, and what passes by meanwhile is known."""

from __future__ import annotations

import asyncio

import pytest
from redis.crc import key_slot

from tests.redis_cluster import RedisCluster
from tests.ws_gateway.broker.conftest import until
from tests.ws_gateway.broker.process import kept, running
from ws_gateway.exceptions import BrokerUnavailable

SLOT = key_slot(b"news")


async def test_channels_of_all_servers_are_heard(redis_cluster: RedisCluster) -> None:
    """Though the setting names one of them only."""
    channels = [f"room:{number}" for number in range(20)]
    owners = {redis_cluster.owner(channel.encode()).port for channel in channels}
    async with running(redis_cluster.url) as reader, running(redis_cluster.url) as writer:
        await asyncio.gather(*map(reader.broker.subscribe, channels))
        assert all([await writer.publish(channel, 1) for channel in channels])
        await until(lambda: len(reader.received) == len(channels))

    assert len(owners) == len(redis_cluster.masters)
    assert sorted(reader.received) == sorted((channel, 1) for channel in channels)


@pytest.mark.parametrize("name", ["}", "}x", "{", "{}", "a}b", "\x01", "é{ü}"])
async def test_any_name_of_a_channel_will_do(redis_cluster: RedisCluster, name: str) -> None:
    """Braces in it do not tear its keys apart."""
    async with running(redis_cluster.url) as process:
        await process.broker.subscribe(name)
        assert await process.publish(name, 1)
        await until(lambda: process.numbers(name) == [1])
        assert kept(await process.history(name)) == [1]


async def test_nothing_is_lost_while_a_slot_moves_under_traffic(
    redis_cluster: RedisCluster,
) -> None:
    """In order, once; what was not delivered is in the history, and the reader is told to look."""
    source = redis_cluster.owner(b"news")
    target = redis_cluster.other(source)
    acknowledged: list[int] = []
    moved = asyncio.Event()

    async with running(redis_cluster.url) as reader, running(redis_cluster.url) as writer:

        async def write() -> None:
            number = 0
            while not moved.is_set() or number % 10:
                if await writer.publish("news", number):
                    acknowledged.append(number)
                number += 1

        await reader.broker.subscribe("news")
        writing = asyncio.create_task(write())
        for step in (
            lambda: redis_cluster.begin_move(SLOT, source, target),
            lambda: redis_cluster.move_keys(SLOT, source, target),
            lambda: redis_cluster.end_move(SLOT, target),
        ):
            before = len(acknowledged)
            await until(lambda before=before: len(acknowledged) >= before + 10)  # type: ignore[misc]
            await asyncio.to_thread(step)
        before = len(acknowledged)
        await until(lambda: len(acknowledged) >= before + 10)
        moved.set()
        await writing
        await until(lambda: reader.broker.subscribed("news"))
        assert await writer.publish("news", -1)
        await until(lambda: reader.numbers("news")[-1:] == [-1])
        history = await reader.history("news")

        delivered = reader.numbers("news")[:-1]
        written = kept(history)[:-1]
        assert set(acknowledged) <= set(written)
        assert written == sorted(set(written))
        assert delivered == sorted(set(delivered))
        assert set(delivered) <= set(written)
        assert "news" in reader.missed
        assert history.position.offset == len(written) + 1
        assert redis_cluster.owner(b"news") is target
    redis_cluster.move(SLOT, target, source)


async def test_the_server_that_gives_a_slot_away_is_believed(redis_cluster: RedisCluster) -> None:
    """Nobody publishes: the channel goes along all the same, and only that one."""
    source = redis_cluster.owner(b"news")
    target = redis_cluster.other(source)
    beside = next(
        name
        for name in map(str, range(1000))
        if redis_cluster.owner(name.encode()) is source and key_slot(name.encode()) != SLOT
    )
    async with running(redis_cluster.url) as reader:
        await reader.broker.subscribe("news")
        await reader.broker.subscribe(beside)
        await asyncio.to_thread(redis_cluster.move, SLOT, source, target)
        await until(lambda: reader.missed and reader.broker.subscribed("news"))

        assert reader.missed == ["news"]
        assert reader.broker.subscribed(beside)
        await asyncio.to_thread(redis_cluster.move, SLOT, target, source)
        await until(lambda: reader.missed == ["news", "news"])


async def test_without_a_cluster_nothing_is_subscribed() -> None:
    """And who asks is told."""
    async with running("redis+cluster://127.0.0.1:1", there=False) as process:
        assert not process.broker.ready()
        with pytest.raises(BrokerUnavailable):
            await process.broker.subscribe("news")


async def test_a_replica_takes_over_from_a_master_that_was_killed(
    shared_cluster: RedisCluster,
) -> None:
    """The last test here: what was acknowledged and copied is there, and flows on."""
    master = shared_cluster.masters[0]
    channel = next(
        name for name in map(str, range(1000)) if shared_cluster.owner(name.encode()) is master
    )
    async with running(shared_cluster.url) as reader, running(shared_cluster.url) as writer:
        await reader.broker.subscribe(channel)
        assert all([await writer.publish(channel, number) for number in range(5)])
        before = await reader.history(channel)
        replica = shared_cluster.replica
        written = master.ask("INFO", "replication")["master_repl_offset"]
        await until(lambda: replica.ask("INFO", "replication")["slave_repl_offset"] >= written)

        master.kill()
        await until(lambda: not reader.broker.ready())
        await until(lambda: reader.broker.ready() and writer.broker.ready())

        assert channel in reader.missed
        assert await reader.history(channel) == before
        assert await writer.publish(channel, 5)
        await until(lambda: reader.numbers(channel) == list(range(6)))
