"""Two nodes over one Redis, which may be away."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.redis_server import RedisServer
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.fallbacks.emulation_request import EmulatedCommands
from ws_gateway.fallbacks.redis_relay import PREFIX, RedisRelay
from ws_gateway.redis_commands import Commands
from ws_gateway.redis_link import Endpoint, Timing

HASTY = Timing(connect=0.5, reply=0.5, probe=0.1, first_retry=0.01, last_retry=0.05)
PATIENCE = 30.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests here."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


class Node:
    """A node with nothing but its relay."""

    def __init__(self, redis: RedisServer) -> None:
        self.id = str(uuid.uuid4())
        endpoint = Endpoint(redis.url)
        self.commands = Commands(endpoint, timing=HASTY)
        self.relay = RedisRelay(endpoint, commands=self.commands, timing=HASTY)
        self.taken: list[tuple[EmulatedCommands, str | None]] = []
        self.bug: Exception | None = None

    def take(self, request: EmulatedCommands, origin: str | None) -> None:
        """Note a request."""
        if self.bug is not None:
            raise self.bug
        self.taken.append((request, origin))

    async def reachable(self, wanted: bool = True) -> None:
        """Wait until requests arrive here, or do not."""
        async with asyncio.timeout(PATIENCE):
            while (self.relay.ready and self.commands.link.connected) is not wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(redis: RedisServer) -> AsyncIterator[Node]:
    """Run a node."""
    node = Node(redis)
    link = asyncio.create_task(node.commands.link.run())
    await node.relay.start(node.id, node.take)
    try:
        yield node
    finally:
        await node.relay.stop()
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)
        node.commands.close()


def request(node: str, number: int = 0) -> EmulatedCommands:
    """Return a request for a node."""
    return EmulatedCommands(node, "session", b"%d" % number, False)


async def taken(node: Node, count: int) -> list[int]:
    """Wait until a node has taken so many requests, and return their numbers."""
    async with asyncio.timeout(PATIENCE):
        while len(node.taken) < count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.005)
    return [int(request.data) for request, _ in node.taken]


async def test_requests_reach_their_node_and_no_other_in_order(redis: RedisServer) -> None:
    """With the origin they came from."""
    async with running(redis) as here, running(redis) as there:
        await here.reachable()
        await there.reachable()
        sent = [
            await here.relay.forward(request(there.id, n), "https://a.example") for n in range(9)
        ]

        assert sent == [True] * 9
        assert await taken(there, 9) == list(range(9))
        assert {origin for _, origin in there.taken} == {"https://a.example"}
        assert here.taken == []


async def test_a_node_that_is_not_there_is_told(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a name that is none never becomes a channel's."""
    async with running(redis) as here:
        await here.reachable()
        nobody = await here.relay.forward(request(str(uuid.uuid4())), None)
        monkeypatch.delattr(Commands, "request")
        names = ("*", "", "x", f"{here.id}:x", f" {here.id}", "A" * 36, "{}\r\nGET", "é" * 36)
        found = [await here.relay.forward(request(name), None) for name in names]
        monkeypatch.undo()

    assert not nobody
    assert found == [False] * len(names)


async def test_a_node_that_has_stopped_is_gone(redis: RedisServer) -> None:
    """As soon as Redis knows."""
    async with running(redis) as here:
        await here.reachable()
        async with running(redis) as there:
            await there.reachable()
            assert await here.relay.forward(request(there.id), None)
        async with asyncio.timeout(PATIENCE):
            while await here.relay.forward(request(there.id), None):  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def test_what_does_not_parse_is_counted_and_dropped(redis: RedisServer) -> None:
    """And what fails behind it takes nothing else along."""
    async with running(redis) as here:
        await here.reachable()
        for payload in (b"", b"\xff", b"\x91\x01", b"{}"):
            await here.commands.request(b"PUBLISH", PREFIX + here.id.encode(), payload)
        here.bug = ZeroDivisionError()
        await here.relay.forward(request(here.id, 1), None)
        async with asyncio.timeout(PATIENCE):
            while here.relay._subscriber.messages < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        here.bug = None
        await here.relay.forward(request(here.id, 2), None)

        assert await taken(here, 1) == [2]
        assert here.relay.malformed == 4


async def test_it_listens_again_by_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Redis away: at the start, and in the middle; meanwhile nothing is promised."""
    server = RedisServer(tmp_path_factory.mktemp("mortal")).start()
    server.kill()
    try:
        async with running(server) as here:
            assert not here.relay.ready
            with pytest.raises(BrokerUnavailable):
                await here.relay.forward(request(here.id), None)
            server.start()
            await here.reachable()
            server.kill()
            await here.reachable(wanted=False)
            server.start()
            await here.reachable()
            assert await here.relay.forward(request(here.id, 7), None)
            assert await taken(here, 1) == [7]
    finally:
        server.kill()
