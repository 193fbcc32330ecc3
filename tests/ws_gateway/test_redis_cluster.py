"""Requests to a cluster, and those who make them: presence, control, and the revocation log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from redis.crc import key_slot
from redis.exceptions import MovedError

from tests.redis_cluster import RedisCluster
from tests.ws_gateway.broker.conftest import redis_cluster, shared_cluster, until
from ws_gateway.broker.redis import RedisBroker
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.control.redis import RedisBus
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.metrics import Metrics
from ws_gateway.presence.redis import RedisPresence
from ws_gateway.protocol.messages import ClientInfo
from ws_gateway.redis_cluster import ClusterMap
from ws_gateway.redis_endpoint import read_address
from ws_gateway.redis_link import Timing

__all__ = ["redis_cluster", "shared_cluster"]

KEY = b"drawbridge:1:ch:s:{k}"


class Gateway:
    """What of a gateway speaks to Redis."""

    def __init__(self, url: str, name: str) -> None:
        redis = Topology(url)
        self.name = name
        self.broker = RedisBroker(redis, metrics=Metrics(CollectorRegistry(), "test"))
        self.commands = self.broker.commands
        self.presence = RedisPresence(self.commands, users=10)
        self.bus = RedisBus(redis, self.commands)
        self.heard: list[bytes] = []


@contextlib.asynccontextmanager
async def running(cluster: RedisCluster, name: str) -> AsyncIterator[Gateway]:
    """Run one for a while."""
    gateway = Gateway(cluster.url, name)
    await gateway.broker.start(lambda *_: None)
    await until(gateway.broker.ready)
    await gateway.presence.start()
    await gateway.bus.start(name, gateway.heard.append)
    await until(gateway.bus.ready)
    try:
        yield gateway
    finally:
        await gateway.bus.stop()
        await gateway.presence.stop()
        await gateway.broker.stop()


async def test_presence_and_control_are_the_same_in_a_cluster(redis_cluster: RedisCluster) -> None:
    """Entries are where their channel is; control messages reach all nodes, or the one meant."""
    rooms = [f"room:{number}" for number in range(9)]
    async with running(redis_cluster, "a") as one, running(redis_cluster, "b") as other:
        for number, room in enumerate(rooms):
            one.presence.add(room, ClientInfo(user="alice", client=f"c{number}"))
            one.presence.hand_over(room)

        for number, room in enumerate(rooms):
            async with asyncio.timeout(30):
                while not await other.presence.members(room, 10):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
            assert list(await other.presence.members(room, 10) or ()) == [f"c{number}"]
        assert await one.bus.tell_all(b"all") == 2
        assert await one.bus.tell("b", b"you")
        assert not await one.bus.tell("c", b"nobody")
        await until(lambda: other.heard == [b"all", b"you"] and one.heard == [b"all"])


async def test_a_request_follows_its_slot(redis_cluster: RedisCluster) -> None:
    """Before the move, in the middle of it with the key on either side, and after it."""
    slot, source = key_slot(KEY), redis_cluster.owner(KEY)
    target = redis_cluster.other(source)
    async with running(redis_cluster, "a") as gateway:

        async def add(word: bytes) -> int:
            return int(await gateway.commands.request(b"RPUSH", KEY, word))

        lengths = [await add(b"before")]
        await asyncio.to_thread(redis_cluster.begin_move, slot, source, target)
        lengths.append(await add(b"still there"))
        await asyncio.to_thread(redis_cluster.move_keys, slot, source, target)
        lengths.append(await add(b"asked"))
        await asyncio.to_thread(redis_cluster.end_move, slot, target)
        lengths.append(await add(b"moved"))

        assert lengths == [1, 2, 3, 4]
    redis_cluster.move(slot, target, source)


async def test_a_server_that_is_away_is_an_error_in_time(redis_cluster: RedisCluster) -> None:
    """An answer other than a redirection is passed on as it is."""
    async with running(redis_cluster, "a") as gateway:
        await gateway.commands.request(b"RPUSH", KEY, b"1")
        with pytest.raises(BrokerUnavailable, match="wrong kind"):
            await gateway.commands.request(b"XLEN", KEY)
    with pytest.raises(BrokerUnavailable):
        await gateway.commands.request(b"XLEN", KEY)


def test_who_says_that_a_slot_has_moved_is_believed() -> None:
    """And whoever listens is told, once."""
    changes: list[None] = []
    cluster = ClusterMap(read_address("redis+cluster://host"), timing=Timing())
    cluster.listen(lambda: changes.append(None))

    for _ in range(2):
        cluster.moved(MovedError(f"{key_slot(b'k')} there:7"))

    assert cluster.owner(b"k") == ("there", 7)
    assert cluster.nodes() == {("there", 7)}
    assert not cluster.complete
    assert len(changes) == 1
