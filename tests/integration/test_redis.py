"""Two gateways over one Redis: users of one reach those of the other, also after it died."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.integration.embedded import ask, tell
from tests.integration.gateways import Gateway, Issuer
from tests.redis_server import RedisServer

pytestmark = pytest.mark.integration

Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Whose tokens count."""
    issuer = Issuer()
    yield issuer
    issuer.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be killed."""
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def start(
    tmp_path_factory: pytest.TempPathFactory, issuer: Issuer, redis: RedisServer
) -> Iterator[Start]:
    """Starts gateways over that Redis."""
    with contextlib.ExitStack() as stack:

        def start(**settings: str) -> Gateway:
            directory = tmp_path_factory.mktemp("gateway")
            gateway = Gateway(directory, issuer, {"GATEWAY_REDIS_URL": redis.url} | settings)
            stack.callback(gateway.start().stop)
            return gateway

        yield start


async def connected(socket: ClientConnection, *rooms: str) -> str:
    """Connect and enter rooms; returns the node's id."""
    reply = await ask(socket, id=1, connect={})
    for number, room in enumerate(rooms, 2):
        assert "subscribe" in await ask(socket, id=number, subscribe={"channel": room})
    return str(reply["connect"]["node"])


async def take(socket: ClientConnection, count: int, *, replies: int = 0) -> list[Any]:
    """Collect publications, until there are so many of them and of replies."""
    found: list[Any] = []
    async with asyncio.timeout(30):
        while len(found) < count or replies > 0:
            for line in str(await socket.recv()).split("\n"):
                reply = json.loads(line)
                assert "error" not in reply, reply
                if "push" in reply:
                    found.append(reply["push"]["pub"]["data"])
                elif reply:
                    replies -= 1
    return found


async def publish_many(socket: ClientConnection, channel: str, count: int) -> None:
    """Publish numbers in order, several commands in flight."""
    for number in range(count):
        command = {"id": 1000 + number, "publish": {"channel": channel, "data": number}}
        await socket.send(json.dumps(command))


async def published(socket: ClientConnection, channel: str, data: object) -> int:
    """Publish one; returns 0 or the error's code."""
    reply = await ask(socket, id=7, publish={"channel": channel, "data": data})
    while "push" in reply:
        reply = await tell(socket)
    return int(reply.get("error", {}).get("code", 0))


async def test_messages_go_both_ways_in_order(start: Start) -> None:
    """Alice on one gateway and Bob on another, a thousand each, privately and in a room."""
    first, second = start(), start()
    async with first.client("alice") as alice, second.client("bob") as bob:
        assert await connected(alice) != await connected(bob)
        for source, target in ((alice, "bob"), (bob, "alice")):
            await publish_many(source, f"dm:#{target}", 1000)

        private = await asyncio.gather(*(take(each, 1000, replies=1000) for each in (alice, bob)))

    assert private == [list(range(1000))] * 2


async def test_room_spans_the_gateways(start: Start) -> None:
    """Everyone in it gets the same, in the same order."""
    gateways = start(), start()
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(gateways[n % 2].client(f"user{n}")) for n in range(20)
        ]
        for socket in sockets:
            await connected(socket, "room:a")

        await publish_many(sockets[0], "room:a", 100)
        found = await asyncio.gather(
            take(sockets[0], 100, replies=100), *(take(socket, 100) for socket in sockets[1:])
        )

    assert found == [list(range(100))] * 20


async def test_private_message_to_nobody_is_said_to_be(start: Start) -> None:
    """1404 counts every gateway, and nobody who has gone."""
    first, second = start(), start()
    async with first.client("alice") as alice:
        await connected(alice)
        before = await published(alice, "dm:#bob", 1)
        async with second.client("bob") as bob:
            await connected(bob)
            during = await published(alice, "dm:#bob", 2)
        async with asyncio.timeout(5):
            while (after := await published(alice, "dm:#bob", 3)) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert (before, during, after) == (1404, 0, 1404)


async def test_flow_resumes_after_redis_died_without_a_reconnect(
    start: Start, redis: RedisServer
) -> None:
    """Sockets stay; what cannot be done is error 100; nobody subscribes again."""
    first, second = start(), start()
    async with first.client("alice") as alice, second.client("bob") as bob:
        for socket in (alice, bob):
            await connected(socket, "room:a")
        assert await published(alice, "room:a", "before") == 0
        assert await take(bob, 1) == ["before"]

        redis.kill()
        for gateway in (first, second):
            await gateway.ready(wanted=False)
        async with asyncio.timeout(1.5):
            refused = await published(alice, "room:a", "lost")
        subscribing = await ask(bob, id=8, subscribe={"channel": "room:b"})
        with pytest.raises(InvalidStatus) as handshake:
            await first.client("carol").__aenter__()
        readiness = first.readiness()
        redis.start()
        for gateway in (first, second):
            await gateway.ready()

        assert await published(alice, "room:a", "after") == 0
        assert await take(bob, 1) == ["after"]
        assert "subscribe" in await ask(bob, id=9, subscribe={"channel": "room:b"})

    assert refused == 100
    assert subscribing["error"]["code"] == 100
    assert subscribing["error"]["temporary"]
    assert handshake.value.response.status_code == 503
    assert readiness == (
        503,
        {
            "broker": False,
            "keys": True,
            "revocations": True,
            "not_draining": True,
            "room": True,
        },
    )
    assert second.metric("gateway_redis_reconnects_total") == 2
    assert second.metric("gateway_redis_deaf_seconds_total") > 0


async def test_redis_away_at_the_start(start: Start, redis: RedisServer) -> None:
    """Up, not ready, handshakes 503; ready by itself later."""
    redis.kill()
    gateway = start()
    status, conditions = gateway.readiness()
    with pytest.raises(InvalidStatus) as handshake:
        await gateway.client("alice").__aenter__()

    redis.start()
    await gateway.ready()

    async with gateway.client("alice") as alice:
        await connected(alice, "room:a")
    assert (status, conditions["broker"]) == (503, False)
    assert handshake.value.response.status_code == 503


async def test_url_may_come_from_a_file(start: Start, redis: RedisServer, tmp_path: Path) -> None:
    """With its password, which no log repeats."""
    redis.ask("CONFIG", "SET", "requirepass", "secret-word")
    secret = tmp_path / "url"
    secret.write_text(redis.url.replace("redis://", "redis://:secret-word@") + "\n")

    gateway = start(
        GATEWAY_REDIS_URL="", GATEWAY_REDIS_URL_FILE=str(secret), GATEWAY_LOG_LEVEL="DEBUG"
    )

    await gateway.ready()
    assert "secret-word" not in gateway.log


def test_wrong_url_stops_the_start_in_one_line() -> None:
    """It names the variable, and does not repeat the value."""
    result = subprocess.run(
        [sys.executable, "-m", "ws_gateway"],
        env={
            "GATEWAY_REDIS_URL": "http://:secret@host",
            "GATEWAY_BIND": "127.0.0.1:0",
            "GATEWAY_INTERNAL_BIND": "127.0.0.1:0",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert result.returncode == 2
    assert result.stderr == (
        "GATEWAY_REDIS_URL: must be a redis://, rediss:// or unix:// URL,"
        " or one with +sentinel or +cluster\n"
    )


async def test_nothing_is_left_on_redis(start: Start, redis: RedisServer) -> None:
    """Neither a subscription of a client that has gone nor a connection of a gateway."""
    clients = "drawbridge:1:ch:*"
    gateway = start()
    async with gateway.client("alice") as alice:
        await connected(alice, "room:a")
        during = redis.channels(clients)
    async with asyncio.timeout(5):
        while redis.channels(clients):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)

    assert during == {b"drawbridge:1:ch:room:a", b"drawbridge:1:ch:dm:#alice"}
    gateway._process.send_signal(signal.SIGTERM)
    gateway._process.wait(15)
    assert redis.connections() == 0
    assert redis.channels() == set()


async def answer(socket: ClientConnection, **request: object) -> Any:  # noqa: ANN401
    """Ask, and pass over what is pushed before the answer."""
    reply = await ask(socket, id=8, **request)
    while "push" in reply:
        reply = await tell(socket)
    return reply


async def here(socket: ClientConnection, channel: str) -> set[str]:
    """Ask who is in a channel; returns the users."""
    reply = await answer(socket, presence={"channel": channel})
    return {info["user"] for info in reply["presence"]["presence"].values()}


async def becomes(socket: ClientConnection, channel: str, users: set[str]) -> None:
    """Wait until just these are in a channel."""
    async with asyncio.timeout(20):
        while await here(socket, channel) != users:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)


async def changes(socket: ClientConnection, count: int) -> list[tuple[str, str]]:
    """Take so many joins and leaves."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            push = (await tell(socket)).get("push", {})
            found += [
                (what, push[what]["info"]["user"]) for what in ("join", "leave") if what in push
            ]
    return found


async def test_who_is_here_is_known_everywhere(start: Start) -> None:
    """Who comes and goes on one gateway is told, and found, on the other."""
    first, second = start(), start()
    async with first.client("alice") as alice:
        await connected(alice, "hall:1")
        async with second.client("bob") as bob:
            await connected(bob, "hall:1")
            assert await changes(alice, 2) == [("join", "alice"), ("join", "bob")]
            assert await here(alice, "hall:1") == {"alice", "bob"}
            assert await here(bob, "hall:1") == {"alice", "bob"}
            stats = (await answer(bob, presence_stats={"channel": "hall:1"}))["presence_stats"]
            assert stats == {"num_clients": 2, "num_users": 2}

        assert await changes(alice, 1) == [("leave", "bob")]
        assert await here(alice, "hall:1") == {"alice"}


async def test_who_was_on_a_killed_gateway_is_gone_in_time(start: Start) -> None:
    """By itself, when its last sign of life is old enough; and not on one that ended well."""
    first = start(GATEWAY_PRESENCE_TTL_SECONDS="1")
    second, third = [start(GATEWAY_PRESENCE_TTL_SECONDS="1") for _ in range(2)]
    async with contextlib.AsyncExitStack() as sockets:
        alice = await sockets.enter_async_context(first.client("alice"))
        bob = await sockets.enter_async_context(second.client("bob"))
        carol = await sockets.enter_async_context(third.client("carol"))
        for socket in (alice, bob, carol):
            await connected(socket, "hall:1")
        await becomes(alice, "hall:1", {"alice", "bob", "carol"})

        third.stop()
        second.kill()
        await becomes(alice, "hall:1", {"alice"})


async def test_presence_comes_back_with_redis(start: Start, redis: RedisServer) -> None:
    """Error 100 within a second while it is away; its data are lost, and nobody reconnects."""
    first, second = start(), start()
    async with first.client("alice") as alice, second.client("bob") as bob:
        await connected(alice, "hall:1")
        await connected(bob, "hall:1")
        await becomes(alice, "hall:1", {"alice", "bob"})

        redis.kill()
        for command in ("presence", "presence_stats"):
            async with asyncio.timeout(1.5):
                reply = await answer(alice, **{command: {"channel": "hall:1"}})
            assert reply["error"]["code"] == 100
        redis.start()

        await first.ready()
        await second.ready()
        await becomes(alice, "hall:1", {"alice", "bob"})
