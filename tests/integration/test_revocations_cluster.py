"""The revocation log in a cluster: written and read on while its slot moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from tests.integration.revocation_log import publishing
from tests.redis_cluster import RedisCluster
from tests.ws_gateway.broker.conftest import until
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.credentials import Credentials
from ws_gateway.revocations.deny_set import Kind
from ws_gateway.revocations.follower import Follower
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.revocations.stream import KEY, StreamReader

pytestmark = pytest.mark.integration

ISSUER = "https://issuer.example"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Three masters; whoever has the log's slot at first."""
    (tmp_path / "redis").mkdir()
    cluster = RedisCluster(tmp_path / "redis")
    try:
        yield cluster.start()
    finally:
        cluster.kill()


async def test_the_log_is_written_and_read_on_where_its_slot_goes(
    cluster: RedisCluster, tmp_path: Path
) -> None:
    """Between its key's going and the slot's it is not, and says so; nothing is read twice."""
    slot, source = key_slot(KEY), cluster.owner(KEY)
    target = cluster.other(source)
    log = RevocationLog(ISSUER, stale_seconds=30)
    reader = StreamReader(Topology(cluster.url).endpoint(KEY))
    following = asyncio.create_task(Follower(log, reader).run())
    try:
        async with publishing(tmp_path, cluster.url) as published:

            async def known(session: str) -> None:
                await until(lambda: log.find(credentials(session)) is Kind.SID)

            await until(lambda: log.readable)
            await published.revoke("before")
            await known("before")
            await asyncio.to_thread(cluster.begin_move, slot, source, target)
            await published.revoke("begun")
            await known("begun")
            await asyncio.to_thread(cluster.move_keys, slot, source, target)
            await until(lambda: not log.readable)
            await published.revoke("under way")
            await asyncio.to_thread(cluster.end_move, slot, target)
            await known("under way")
            await until(lambda: log.readable)
            await asyncio.to_thread(cluster.move, slot, target, source)
            await published.revoke("back")
            await known("back")
            await until(lambda: log.ready)
            assert log.entries == 4
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def credentials(session: str) -> Credentials:
    """Return a token's of a session."""
    return Credentials(
        user="alice",
        client_id="chat",
        scopes=frozenset({"connect"}),
        issued_at=int(time.time()),
        expires_at=time.time() + 600,
        jti=session,
        sid=session,
        issuer=ISSUER,
    )
