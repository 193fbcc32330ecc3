"""Where the revocation log is published: one setting for every kind of Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from auth_service.redis_address import check, connect
from auth_service.revocation_publisher import STREAM
from tests.redis_cluster import RedisCluster
from tests.redis_sentinel import RedisSentinels


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis://:x@host:1/0",
        "unix:///run/redis",
        "rediss+sentinel://u:p@a:1,b/main?sentinel_password=x",
        "redis+cluster://a:1,b:2",
    ],
)
def test_each_kind_is_taken(url: str) -> None:
    """As gateways take it."""
    assert check(url) == url


@pytest.mark.parametrize("url", ["http://secret", "redis+raft://secret", "redis+sentinel://secret"])
def test_what_is_wrong_is_said_without_repeating_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match="must ") as refused:
        check(url)

    assert "secret" not in str(refused.value)


async def write_in_one_step(client: Redis) -> int:
    """Write a stream as the publisher does; returns its length."""
    pipeline: Any = client.pipeline(transaction=True)
    pipeline.delete(STREAM)
    pipeline.xadd(STREAM, {"kind": "log"}, id="0-1")
    await pipeline.execute()
    try:
        return int(await client.xlen(STREAM))
    finally:
        await client.aclose()


async def test_a_stream_is_written_to_the_master_that_sentinels_name(tmp_path: Path) -> None:
    """And nothing stays open afterwards."""
    servers = RedisSentinels(tmp_path)
    try:
        assert await write_in_one_step(connect(servers.start().url, STREAM)) == 1
    finally:
        servers.kill()


async def test_a_stream_is_written_to_the_server_that_has_its_slot(tmp_path: Path) -> None:
    """Whichever of the cluster the setting names."""
    servers = RedisCluster(tmp_path)
    try:
        assert await write_in_one_step(connect(servers.start().url, STREAM)) == 1
    finally:
        servers.kill()
