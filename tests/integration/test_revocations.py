"""Revoked tokens, and two issuers, at gateways that run as processes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.integration.gateways import Gateway, Issuer
from tests.redis_server import RedisServer
from tests.revocation_service import KEY, Service
from ws_gateway.revocations.stream import KEY as STREAM

pytestmark = pytest.mark.integration

LATER = 2_000_000_000


class World:
    """Two gateways that trust two issuers: one revokes in Redis, one answers questions."""

    def __init__(self, redis: RedisServer, service: Service, directory: Path) -> None:
        self.redis = redis
        self.service = service
        self.issuers = (Issuer(), Issuer())
        logs = ("redis", f"http://127.0.0.1:{service.port}/revocations")
        entries = [
            {
                "issuer": issuer.url,
                "jwks_url": issuer.url,
                "audience": "drawbridge",
                "user_prefix": prefix,
                "revocations": log,
            }
            for issuer, prefix, log in zip(self.issuers, "ab", logs, strict=True)
        ]
        settings = {
            "GATEWAY_ISSUERS": json.dumps(entries),
            "GATEWAY_REDIS_URL": redis.url,
            "GATEWAY_REVOCATIONS_KEY": KEY,
            "GATEWAY_REVOCATION_STALE_SECONDS": "2",
        }
        self.gateways = []
        for number in range(2):
            folder = directory / str(number)
            folder.mkdir()
            self.gateways.append(Gateway(folder, self.issuers[0], settings))

    def revoke(self, number: int, kind: str, value: str, **more: Any) -> None:  # noqa: ANN401
        """Write an entry of the first issuer."""
        fields = {"kind": kind, "value": value, "sub": "", "before": 0, "until": LATER} | more
        pairs = [str(part) for pair in fields.items() for part in pair]
        self.redis.ask("XADD", STREAM, f"{number}-0", *pairs)


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that has the first issuer's log, which is empty."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    server.ask("XADD", STREAM, "0-1", "kind", "log", "value", "one")
    yield server
    server.kill()


@pytest.fixture
async def world(redis: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    """Everything, started and ready."""
    service = Service()
    await service.start()
    world = World(redis, service, tmp_path)
    for gateway in world.gateways:
        await asyncio.to_thread(gateway.start)
    for gateway in world.gateways:
        while (await asyncio.to_thread(gateway.readiness))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    yield world
    for gateway in world.gateways:
        await asyncio.to_thread(gateway.stop)
    for issuer in world.issuers:
        issuer.stop()
    await service.stop()


async def end(socket: ClientConnection) -> int:
    """Return the code that a socket is closed with."""
    async with asyncio.timeout(5):
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code


async def status(gateway: Gateway, token: str) -> int:
    """Return what the handshake is refused with."""
    with pytest.raises(InvalidStatus) as caught:
        async with gateway.client_with(token):
            pass
    if caught.value.response.status_code == 503:
        assert caught.value.response.headers["Retry-After"]
    return caught.value.response.status_code


async def test_same_subject_of_two_issuers_is_two_users(world: World) -> None:
    """A private message reaches one of them; a log-out everywhere ends one of them, anywhere."""
    now = int(time.time())
    tokens = [issuer.token("alice", sid=f"s{n}") for n, issuer in enumerate(world.issuers)]
    first, second = world.gateways
    async with (
        first.client_with(tokens[0]) as a,
        second.client_with(tokens[0]) as a_elsewhere,
        first.client_with(tokens[1]) as b,
    ):
        for socket in (a, a_elsewhere, b):
            await socket.send('{"id":1,"rpc":{"method":"none"}}')
            assert json.loads(await socket.recv())["error"]["code"] == 108
        await a.send('{"id":2,"publish":{"channel":"dm:#b.alice","data":"for b"}}')
        assert json.loads(await b.recv())["push"]["pub"]["info"]["user"] == "a.alice"
        await a.recv()

        began = time.monotonic()
        await asyncio.to_thread(world.revoke, 1, "sub", "alice", before=now)
        codes = await asyncio.gather(end(a), end(a_elsewhere))

        assert time.monotonic() - began < 1
        assert set(codes) == {3500}
        await b.send('{"id":3,"rpc":{"method":"none"}}')
        assert json.loads(await b.recv())["id"] == 3
    assert [await status(gateway, tokens[0]) for gateway in world.gateways] == [401, 401]
    fresh = world.issuers[0].token("alice", iat=now + 1, sid="s9")
    async with first.client_with(fresh) as again:
        await again.send('{"id":1,"rpc":{"method":"none"}}')
        assert json.loads(await again.recv())["id"] == 1
    assert first.metric("gateway_revocation_disconnects_total") == 1
    assert first.metric("gateway_revocation_entries_total") == 1


async def test_long_poll_closes_and_its_silence_shuts_the_door(world: World) -> None:
    """Promise 2 for the issuer that is asked: open sockets live, new ones get 503, others enter."""
    gateway = world.gateways[0]
    by_redis, by_poll = world.issuers
    kept = by_poll.token("bob")
    async with (
        gateway.client_with(by_poll.token("alice", jti="t1")) as alice,
        gateway.client_with(kept) as bob,
    ):
        await world.service.add(1, kind="jti", value="t1", sub="alice", until=LATER)
        assert await end(alice) == 3005

        await world.service.stop()
        while (await asyncio.to_thread(gateway.readiness))[1]["revocations"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert [await status(gateway, by_poll.token("bob")) for _ in range(2)] == [503, 503]
        assert await status(gateway, kept) == 503
        async with gateway.client_with(by_redis.token("bob")):
            pass
        await bob.send('{"id":1,"rpc":{"method":"none"}}')
        assert json.loads(await bob.recv())["id"] == 1

        await world.service.add(2, kind="sub", value="bob", before=int(time.time()), until=LATER)
        began = time.monotonic()
        await world.service.start()
        assert await end(bob) == 3500
        assert time.monotonic() - began < 1
    assert await status(gateway, kept) == 401
    assert gateway.log.count("revocation log is not read") == 1
    assert KEY not in gateway.log
