"""A master behind sentinels, and what becomes of publications when it is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_cluster import wait_for
from tests.redis_sentinel import RedisSentinels
from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import until
from tests.ws_gateway.broker.process import kept, running
from ws_gateway.broker.redis_topology import Topology


@pytest.fixture
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinels]:
    """A master, a replica and three who watch them; the test may kill any."""
    servers = RedisSentinels(tmp_path_factory.mktemp("sentinels"))
    try:
        yield servers.start()
    finally:
        servers.kill()


@pytest.mark.parametrize(
    ("url", "sharded"),
    [
        ("redis://host", False),
        ("redis+sentinel://host/main", False),
        ("redis+cluster://host", True),
    ],
)
def test_a_url_says_what_there_is(url: str, sharded: bool) -> None:
    """One setting is enough."""
    assert Topology(url).sharded is sharded


async def test_a_wrong_one_is_refused() -> None:
    """When the process begins."""
    with pytest.raises(ValueError, match="must be a redis://"):
        Topology("redis+raft://host")


def cut_replication(replica: RedisServer) -> None:
    """Have a replica get no more of what is written, though both run."""
    replica.ask("CONFIG", "SET", "masterauth", "wrong")
    replica.ask("CLIENT", "KILL", "TYPE", "master")
    wait_for(lambda: replica.ask("INFO", "replication")["master_link_status"] == "down")


async def test_what_a_failover_loses_is_a_new_epoch_and_the_rest_is_there(
    sentinels: RedisSentinels,
) -> None:
    """Promise: nothing that was acknowledged is lost in silence."""
    master, replica = sentinels.servers
    async with running(sentinels.url) as reader, running(sentinels.url) as writer:
        for channel in ("calm", "torn"):
            await reader.broker.subscribe(channel)
            assert all([await writer.publish(channel, number) for number in range(5)])
        wait_for(lambda: replica.ask("XLEN", "drawbridge:1:ch:s:{torn}") == 5)
        before = {channel: await reader.history(channel) for channel in ("calm", "torn")}
        cut_replication(replica)
        assert all([await writer.publish("torn", number) for number in range(5, 8)])
        await until(lambda: reader.numbers("torn") == list(range(8)))

        master.kill()
        await until(lambda: not reader.broker.ready())
        await until(lambda: reader.broker.ready() and writer.broker.ready())
        after = {channel: await reader.history(channel) for channel in ("calm", "torn")}

        assert sentinels.master_port() == replica.port
        assert set(reader.missed) >= {"calm", "torn"}
        assert after["calm"] == before["calm"]
        assert kept(after["torn"]) == list(range(5))
        assert after["torn"].position.epoch != before["torn"].position.epoch
        assert await writer.publish("torn", 9)
        await until(lambda: reader.numbers("torn") == [*range(8), 9])
