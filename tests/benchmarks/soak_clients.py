"""The clients of the soak: they come, talk, ask, go, and renew tokens that live half a minute."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    ConnectingContext,
    DisconnectedContext,
    PublicationContext,
    Subscription,
    SubscriptionEventHandler,
)
from typing_extensions import override
from websockets.asyncio.client import ClientConnection, connect as websocket
from websockets.exceptions import ConnectionClosed

ROOMS = 10
KINDS = ("stays", "stays", "stays", "stays", "stays", "stays", "leaves", "leaves", "bare", "login")
"""What every tenth client is: most stay, with minted tokens."""

_STAY_SECONDS = (10.0, 60.0)
_AWAY_SECONDS = (2.0, 10.0)
_LONGEST_HISTORY = 20
_EXPIRED = 3005

Token = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the clients go.

    Attributes:
        front: Address with scheme and port.
        tls: Whom they trust.
        mint: Makes a token of a user by number, good for half a minute.
        passwords: Of the users who log in.
        every: Seconds between two doings of one client, in the mean.
    """

    front: str
    tls: ssl.SSLContext
    mint: Callable[[int], str]
    passwords: dict[str, str]
    every: float

    @property
    def socket(self) -> str:
        """The address for WebSockets."""
        return self.front.replace("http", "ws", 1) + "/connection/websocket"


@dataclass(slots=True)
class Tally:
    """What was done.

    Attributes:
        done: Doings by name.
        failed: Those that were answered an error, by what it said.
        ends: Connections that were ended by the other side, by code.
        tokens: How many were had.
        heard: Publications that came.
        arrivals: Connections that were opened.
    """

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    heard: int = 0
    arrivals: int = 0


class Soak:
    """All clients.

    Args:
        place: Where they go.
        count: How many.
        tally: Where they count.
    """

    def __init__(self, place: Place, count: int, tally: Tally) -> None:
        self._place = place
        self._tally = tally
        self._count = count
        self._names = itertools.count()
        self._leaving = asyncio.Event()

    async def run(self, seconds: float) -> None:
        """Let them come, and all go when the time is over.

        Raises:
            ExceptionGroup: What no client should meet.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._run(number, KINDS[number % len(KINDS)]))
            await asyncio.sleep(seconds)
            self._leaving.set()

    async def _run(self, number: int, kind: str) -> None:
        await self._pause(random.uniform(0, 5))  # noqa: S311
        if kind == "bare":
            while not self._leaving.is_set():
                await self._visit_bare(number)
        elif kind == "login":
            async with self._log_in(number) as token:
                await self._visit(number, token, None)
        else:
            while not self._leaving.is_set():
                leaves = kind == "leaves"
                stay = random.uniform(*_STAY_SECONDS) if leaves else None  # noqa: S311
                await self._visit(number, self._minted(number), stay)
                if leaves:
                    await self._pause(random.uniform(*_AWAY_SECONDS))  # noqa: S311

    # Tokens

    def _minted(self, number: int) -> Token:
        async def token() -> str:
            self._tally.tokens += 1
            return self._place.mint(number)

        return token

    @contextlib.asynccontextmanager
    async def _log_in(self, number: int) -> Any:  # noqa: ANN401 - a generator of Token
        """Have tokens from ``/token``: a log-in first, refreshes afterwards."""
        users = sorted(self._place.passwords)
        user = users[number // len(KINDS) % len(users)]
        first = {
            "grant_type": "password",
            "username": user,
            "password": self._place.passwords[user],
        }
        refresh = ""
        async with httpx2.AsyncClient(
            base_url=self._place.front, verify=self._place.tls, trust_env=False
        ) as http:

            async def token() -> str:
                nonlocal refresh
                form = {"grant_type": "refresh_token", "refresh_token": refresh}
                answer = await http.post("/token", data=form if refresh else first)
                answer.raise_for_status()
                self._tally.tokens += 1
                refresh = answer.json()["refresh_token"]
                return str(answer.json()["access_token"])

            yield token

    # Clients of the SDK

    async def _visit(self, number: int, token: Token, seconds: float | None) -> None:
        """Stay for a time, or until all leave."""
        client = Client(
            self._place.socket,
            _Watch(self._tally),
            get_token=token,
            use_protobuf=number % 2 == 1,
            ssl_context=self._place.tls,
            proxy=None,
        )
        await client.connect()
        ends = None if seconds is None else asyncio.get_running_loop().time() + seconds
        try:
            await client.ready(30)
            self._tally.arrivals += 1
            room = client.new_subscription(f"room:soak-{number % ROOMS}", events=_Ear(self._tally))
            await room.subscribe()
            await room.ready(30)
            for doing in _doings(number):
                await self._pause(random.expovariate(1 / self._place.every))
                over = ends is not None and asyncio.get_running_loop().time() > ends
                if over or self._leaving.is_set():
                    break
                await self._count_doing(doing, self._do(doing, client, room))
        finally:
            connection = client._conn
            await client.disconnect()
            if connection is not None:  # it closes behind the SDK's back
                await connection.wait_closed()

    async def _do(self, doing: str, client: Client, room: Subscription) -> None:
        match doing:
            case "publish":
                await room.publish(self._words(client))
            case "history":
                await room.history(limit=_LONGEST_HISTORY)
            case "presence":
                await room.presence()
            case "presence_stats":
                await room.presence_stats()
            case "unsubscribe":
                await room.unsubscribe()
                await room.subscribe()
                await room.ready()
            case _:
                await self._visit_room(client)

    async def _visit_room(self, client: Client) -> None:
        """Be the only visitor that a room will ever have."""
        room = client.new_subscription(f"room:brief-{next(self._names)}")
        await room.subscribe()
        await room.ready()
        await room.publish(self._words(client))
        await room.unsubscribe()
        client.remove_subscription(room)

    @staticmethod
    def _words(client: Client) -> Any:  # noqa: ANN401 - bytes in Protobuf
        data = {"text": "x" * random.randint(10, 200)}  # noqa: S311
        return json.dumps(data).encode() if client._use_protobuf else data

    # Bare ones

    async def _visit_bare(self, number: int) -> None:
        """Stay until the token ends, or until all leave."""
        token = await self._minted(number)()
        async with websocket(
            self._place.socket,
            additional_headers={"Authorization": f"Bearer {token}"},
            ssl=self._place.tls,
            compression=None,
            proxy=None,
        ) as opened:
            self._tally.arrivals += 1
            hearing = asyncio.create_task(self._hear(opened))
            try:
                await self._talk_bare(opened, number)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 0
                if code != _EXPIRED:
                    self._tally.ends[code] += 1
                self._tally.done["bare"] += 1
            finally:
                hearing.cancel()

    async def _talk_bare(self, opened: ClientConnection, number: int) -> None:
        room = f"room:soak-{number % ROOMS}"
        await opened.send(json.dumps({"id": 1, "subscribe": {"channel": room}}))
        for id_ in itertools.count(2):
            await self._pause(random.expovariate(1 / self._place.every))
            if self._leaving.is_set():
                return
            commands: list[dict[str, Any]] = [
                {"publish": {"channel": room, "data": {"text": "bare"}}},
                {"history": {"channel": room, "limit": _LONGEST_HISTORY}},
                {"presence": {"channel": room}},
            ]
            await opened.send(json.dumps({"id": id_, **commands[id_ % len(commands)]}))

    async def _hear(self, opened: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in opened:
                for line in str(message).splitlines():
                    said = json.loads(line)
                    if "push" in said:
                        self._tally.heard += 1
                    elif "error" in said:
                        self._tally.failed[f"bare {said['error']['code']}"] += 1

    # Both

    async def _count_doing(self, name: str, doing: Awaitable[None]) -> None:
        try:
            await doing
        except (CentrifugeError, TimeoutError) as error:
            self._tally.failed[f"{name}: {error}"] += 1
        else:
            self._tally.done[name] += 1

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)


class _Watch(ClientEventHandler):  # type: ignore[misc]
    """Counts the ends that the other side made."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        if ctx.code:  # 0 is the first attempt
            self._tally.ends[ctx.code] += 1

    @override
    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        if ctx.code:  # 0 is our own end
            self._tally.ends[ctx.code] += 1


class _Ear(SubscriptionEventHandler):  # type: ignore[misc]
    """Counts what comes."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        self._tally.heard += 1


def _doings(number: int) -> Iterator[str]:
    """Say what a client does next, for ever; each its own mixture in its own order."""
    chance = random.Random(number)  # noqa: S311
    while True:
        yield chance.choices(
            ("publish", "history", "presence", "presence_stats", "unsubscribe", "brief"),
            (6, 2, 1, 1, 1, 4),
        )[0]
