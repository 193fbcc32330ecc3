"""A room on two gateways whose members speak differently, while Redis dies and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from centrifuge import (
    Client,
    ClientEventHandler,
    ConnectingContext,
    DisconnectedContext,
    PublicationContext,
    SubscribingContext,
    SubscriptionEventHandler,
    UnsubscribedContext,
)
from centrifuge.exceptions import ReplyError
from typing_extensions import override
from websockets.asyncio.client import ClientConnection

from infra.stack.exceptions import StackError
from tests.integration.browser import chromium
from tests.integration.embedded import ask
from tests.integration.gateways import Gateway, Issuer
from tests.integration.room import (
    PARTICIPANT,
    Participant,
    Speaker,
    enter,
    hears,
)
from tests.integration.sdk_javascript import install
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CHANNEL = "kept:mixed"
END = "the end"
# Every write is on the disk before it is acknowledged.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
SENTENCES = 20


@contextlib.asynccontextmanager
async def in_chromium(gateway: Gateway, issuer: Issuer) -> AsyncIterator[Participant]:
    """Enter the room on a page of the only origin that may."""
    async with chromium() as browser:
        page = await (await browser.new_context()).new_page()
        await page.goto(issuer.url)
        place = {"url": gateway.url, "token": issuer.token("chromium"), "channel": CHANNEL}
        participant = await enter(page, "chromium", place)
        yield participant


class InNode:
    """The JavaScript SDK in a process of its own, over Protobuf."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._codes: asyncio.Queue[int] = asyncio.Queue()
        self._heard: list[str] = []
        self._ends: list[int] = []

    async def tell(self, line: object) -> int:
        """Write a line; returns the code that answers it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        async with asyncio.timeout(20):
            return await self._codes.get()

    async def listen(self) -> None:
        """Take in what it tells."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match json.loads(line):
                case {"heard": sentence}:
                    self._heard.append(sentence)
                case {"end": code}:
                    self._ends.append(code)
                case {"code": code}:
                    self._codes.put_nowait(code)
                case other:
                    raise AssertionError(other)

    async def attempt(self, sentence: str) -> int:
        """Publish once."""
        return await self.tell(sentence)

    async def heard(self) -> list[str]:
        """Return what arrived."""
        return list(self._heard)

    async def ends(self) -> list[int]:
        """Return the codes."""
        return list(self._ends)


@contextlib.asynccontextmanager
async def in_node(gateway: Gateway, issuer: Issuer) -> AsyncIterator[Participant]:
    """Enter the room from a program, which ends with its stdin."""
    node = await asyncio.to_thread(install)
    process = await asyncio.create_subprocess_exec(node, PARTICIPANT, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    participant = InNode(process)
    listening = asyncio.create_task(participant.listen())
    try:
        place = {"url": gateway.url, "token": issuer.token("node"), "channel": CHANNEL}
        await participant.tell(place)
        yield participant
        process.stdin.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


class InPython:
    """The Python SDK, in either encoding."""

    def __init__(self, client: Client, pack: Callable[[str], object], room: Room) -> None:
        self._client = client
        self._pack = pack
        self._room = room

    async def attempt(self, sentence: str) -> int:
        """Publish once."""
        try:
            await self._client.publish(CHANNEL, self._pack(sentence))
        except ReplyError as error:
            return int(error.code)
        return 0

    async def heard(self) -> list[str]:
        """Return what arrived."""
        return list(self._room.heard)

    async def ends(self) -> list[int]:
        """Return the codes."""
        return list(self._room.ends)


class Room(SubscriptionEventHandler):  # type: ignore[misc]
    """What a subscription goes through; the first attempt and our own end have the code 0."""

    def __init__(self, unpack: Callable[[Any], str]) -> None:
        self._unpack = unpack
        self.heard: list[str] = []
        self.ends: list[int] = []

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note it."""
        self.heard.append(self._unpack(ctx.pub.data))

    @override
    async def on_subscribing(self, ctx: SubscribingContext) -> None:
        """Note why."""
        self.note(ctx.code)

    @override
    async def on_unsubscribed(self, ctx: UnsubscribedContext) -> None:
        """Note why."""
        self.note(ctx.code)

    def note(self, code: int) -> None:
        """Note a code, unless it says that all is well."""
        if code:
            self.ends.append(code)


class Connection(ClientEventHandler):  # type: ignore[misc]
    """What a connection goes through."""

    def __init__(self, note: Callable[[int], None]) -> None:
        self._note = note

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        """Note why."""
        self._note(ctx.code)

    @override
    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        """Note why."""
        self._note(ctx.code)


@contextlib.asynccontextmanager
async def in_python(
    gateway: Gateway, issuer: Issuer, *, use_protobuf: bool
) -> AsyncIterator[Participant]:
    """Enter the room; payloads are bytes in Protobuf."""

    def pack(sentence: str) -> object:
        return json.dumps(sentence).encode() if use_protobuf else sentence

    room = Room(json.loads if use_protobuf else str)
    client = Client(
        gateway.url,
        Connection(room.note),
        token=issuer.token("python"),
        use_protobuf=use_protobuf,
        proxy=None,
    )
    await client.connect()
    subscription = client.new_subscription(CHANNEL, events=room)
    await subscription.subscribe()
    await subscription.ready()
    try:
        yield InPython(client, pack, room)
    finally:
        await client.disconnect()


class Bare:
    """A WebSocket, and JSON by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._codes: asyncio.Queue[int] = asyncio.Queue()
        self._heard: list[str] = []
        self._ends: list[int] = []

    async def listen(self) -> None:
        """Take in what comes, and answer pings."""
        async for message in self._socket:
            for reply in map(json.loads, str(message).split("\n")):
                match reply:
                    case {"push": {"pub": {"data": sentence}}}:
                        self._heard.append(sentence)
                    case {"push": {"unsubscribe": {"code": code}}}:
                        self._ends.append(code)
                    case {"id": 3, "error": {"code": code}}:
                        self._codes.put_nowait(code)
                    case {"id": 3}:
                        self._codes.put_nowait(0)
                    case _:
                        assert reply == {}
                        await self._socket.send("{}")

    async def attempt(self, sentence: str) -> int:
        """Publish once."""
        command = {"id": 3, "publish": {"channel": CHANNEL, "data": sentence}}
        await self._socket.send(json.dumps(command))
        async with asyncio.timeout(10):
            return await self._codes.get()

    async def heard(self) -> list[str]:
        """Return what arrived."""
        return list(self._heard)

    async def ends(self) -> list[int]:
        """Return the codes."""
        closed = self._socket.close_code
        return self._ends if closed is None else [*self._ends, closed]


@contextlib.asynccontextmanager
async def bare(gateway: Gateway) -> AsyncIterator[Participant]:
    """Enter the room with two commands."""
    async with gateway.client("bare") as socket:
        assert "connect" in await ask(socket, id=1, connect={})
        assert "subscribe" in await ask(socket, id=2, subscribe={"channel": CHANNEL})
        participant = Bare(socket)
        listening = asyncio.create_task(participant.listen())
        yield participant
        await socket.close()
        await listening


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that keeps what it has taken when it is killed."""
    server = RedisServer(tmp_path, *DURABLE).start()
    yield server
    server.kill()


@pytest.fixture
def gateways(
    tmp_path_factory: pytest.TempPathFactory, issuer: Issuer, redis: RedisServer
) -> Iterator[list[Gateway]]:
    """Two over that Redis, which let pages of the issuer's origin connect."""
    settings = {"GATEWAY_REDIS_URL": redis.url, "GATEWAY_ORIGINS": issuer.url}
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(2):
            gateway = Gateway(tmp_path_factory.mktemp("gateway"), issuer, settings).start()
            stack.callback(gateway.stop)
            found.append(gateway)
        yield found


@contextlib.asynccontextmanager
async def everybody(gateways: list[Gateway], issuer: Issuer) -> AsyncIterator[list[Participant]]:
    """Bring them in, by turns on this gateway and on that."""
    first, second = gateways
    async with contextlib.AsyncExitStack() as stack:
        try:
            await asyncio.to_thread(install)  # the browser's part too
            entrances = (
                in_chromium(first, issuer),
                in_node(second, issuer),
                in_python(first, issuer, use_protobuf=False),
                in_python(second, issuer, use_protobuf=True),
                bare(first),
                bare(second),
            )
            participants = [await stack.enter_async_context(each) for each in entrances]
        except (FileNotFoundError, StackError) as error:
            pytest.fail(str(error))
        yield participants


async def test_a_mixed_room_hears_the_same_through_a_restart_of_redis(
    gateways: list[Gateway], issuer: Issuer, redis: RedisServer
) -> None:
    """In one order, what was acknowledged once, and nobody has to connect or subscribe again."""
    async with everybody(gateways, issuer) as participants:
        speakers = [Speaker(f"{number}:", each) for number, each in enumerate(participants)]
        *talkers, witness = speakers
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as talk:
            for speaker in talkers:
                talk.create_task(speaker.talk(enough))
            await witness.say(SENTENCES)

            redis.kill()  # while everybody talks
            for gateway in gateways:
                await gateway.ready(wanted=False)
            async with asyncio.timeout(10):
                await asyncio.gather(*(speaker.refused.wait() for speaker in talkers))
            redis.start()
            for gateway in gateways:
                await gateway.ready()
            await witness.say(SENTENCES)
            enough.set()
        for speaker in speakers:
            await speaker.say(SENTENCES)
        assert await participants[0].attempt(END) == 0

        heard = [await hears(participant, END) for participant in participants]
        ends = [await participant.ends() for participant in participants]

    assert heard[1:] == heard[:1] * (len(participants) - 1)
    assert len(heard[0]) == len(set(heard[0]))
    for number, speaker in enumerate(speakers):
        said = set(speaker.acknowledged)
        own = [sentence for sentence in heard[0] if sentence.startswith(f"{number}:")]
        assert [sentence for sentence in own if sentence in said] == speaker.acknowledged
    assert ends == [[]] * len(participants)
    # One each for both connections; one more for each that met a Redis which was still reading.
    assert min(gateway.metric("gateway_redis_reconnects_total") for gateway in gateways) >= 2
