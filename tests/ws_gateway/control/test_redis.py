"""The bus over Redis: several nodes, and a Redis that goes away."""

from __future__ import annotations

import asyncio

import pytest
from redis.crc import key_slot

from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import until
from tests.ws_gateway.control.conftest import Heard, Make
from ws_gateway.control.redis import PREFIX
from ws_gateway.exceptions import BrokerUnavailable

SHARDED = b"drawbridge:1:{control}:all"


async def start_three(make: Make) -> list[Heard]:
    """Start as many nodes."""
    found = [make(name) for name in "abc"]
    for node in found:
        await node.start()
    return found


@pytest.fixture
async def nodes(make_redis: Make) -> list[Heard]:
    """Three of them."""
    return await start_three(make_redis)


async def test_all_nodes_hear_what_is_for_all_and_one_what_is_for_it(
    make_connected: Make,
) -> None:
    """In the order in which one node says it."""
    first, second, third = nodes = await start_three(make_connected)

    assert await first.bus.tell_all(b"1") == 3
    assert await first.bus.tell("b", b"2")
    assert await first.bus.tell_all(b"3") == 3
    await until(lambda: all(b"3" in node.messages for node in nodes))

    assert first.messages == third.messages == [b"1", b"3"]
    assert second.messages == [b"1", b"2", b"3"]


async def test_its_channels_are_apart_from_those_of_clients(
    nodes: list[Heard], server: RedisServer
) -> None:
    """Under a prefix of their own, with the version of the format, for the ACL to speak of."""
    assert PREFIX == b"drawbridge:1:control:"
    assert server.channels() == {
        PREFIX + name for name in (b"all", b"node:a", b"node:b", b"node:c")
    }
    assert len(nodes) == 3


async def test_a_receiver_that_fails_keeps_its_connection(
    make_redis: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The next message comes."""
    node = make_redis("a")
    take = node.messages.append

    def fail_once(message: bytes) -> None:
        take(message)
        if len(node.messages) == 1:
            raise RuntimeError("a fault of ours")

    await node.bus.start("a", fail_once)
    await until(node.bus.ready)
    await node.bus.tell_all(b"1")
    await node.bus.tell_all(b"2")
    await until(lambda: len(node.messages) == 2)

    assert "control message not taken" in caplog.text


async def test_it_is_not_ready_without_redis_and_ready_again_by_itself(
    nodes: list[Heard], server: RedisServer
) -> None:
    """Meanwhile nothing can be said, and nothing seems to be."""
    node = nodes[0]
    server.kill()
    await until(lambda: not node.bus.ready())
    with pytest.raises(BrokerUnavailable):
        await node.bus.tell_all(b"lost")

    server.start()
    await until(lambda: all(node.bus.ready() for node in nodes))
    while await until_told(node) < 3:
        pass
    await until(lambda: all(node.messages for node in nodes))

    assert b"lost" not in node.messages


async def test_it_goes_where_its_slot_goes(make_cluster: Make, redis_cluster: RedisCluster) -> None:
    """All its channels are in one, so that one server of a cluster has them."""
    nodes = await start_three(make_cluster)
    slot, source = key_slot(SHARDED), redis_cluster.owner(SHARDED)
    target = redis_cluster.other(source)

    def channels(server: RedisServer) -> int:
        return len(server.ask("PUBSUB", "SHARDCHANNELS", "drawbridge:1:{control}:*"))

    assert (channels(source), channels(target)) == (4, 0)
    await asyncio.to_thread(redis_cluster.move, slot, source, target)
    try:
        await until(lambda: channels(target) == 4 and all(node.bus.ready() for node in nodes))
        assert channels(source) == 0
        assert await until_told(nodes[0]) == 3
        await until(lambda: all(node.messages == [b"again"] for node in nodes))
        assert await nodes[0].bus.tell("b", b"yours")
        await until(lambda: nodes[1].messages == [b"again", b"yours"])
    finally:
        redis_cluster.move(slot, target, source)


async def until_told(node: Heard) -> int:
    """Say something, once the connection that publishes is there again; returns to how many."""
    told = 0

    async def tell() -> None:
        nonlocal told
        told = await node.bus.tell_all(b"again")

    for _ in range(1000):
        try:
            await tell()
        except BrokerUnavailable:
            await until(node.bus.ready)
        else:
            break
    return told
