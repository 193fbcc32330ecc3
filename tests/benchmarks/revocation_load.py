"""Two gateways full of sockets, a token service that ends sessions, and the time in between.

The integration test runs a small one, ``make bench`` the one of the promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.models import User, Username
from auth_service.store import users
from tests.integration.two_gateways import World, door

SESSIONS_PER_USER = 2
_ROOM = 10
_OPENING = 20


@dataclass(slots=True)
class Socket:
    """One socket and what becomes of it.

    Args:
        user: Whose.
        token: Its access token.
        sid: The session of that.
        received: Publications so far.
        code: What it was closed with.
        closed_at: When, by the monotonic clock.
    """

    user: User
    token: str
    sid: str
    received: int = 0
    code: int | None = None
    closed_at: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What a run has shown.

    Args:
        waits: From the service's answer to each close, in seconds.
        codes: What the sockets were closed with, by kind of revocation.
        bystanders: Sockets that were closed though nobody had revoked them.
        received: Publications that reached a socket.
        seconds: How long it took.
    """

    waits: list[float] = field(default_factory=list)
    codes: dict[str, set[int | None]] = field(default_factory=dict)
    bystanders: int = 0
    received: int = 0
    seconds: float = 0.0


class Crowd:
    """Sockets in rooms of ten, over both gateways, and some that publish.

    Args:
        world: Where.
        count: How many.
    """

    def __init__(self, world: World, service: Service, count: int) -> None:
        self.sockets: list[Socket] = []
        self._world = world
        self._service = service
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: list[ClientConnection] = []
        self._over = False

    async def enter(self) -> None:
        """Open all sockets; each is in its room."""
        client = await self._service.clients.find("app")
        assert client is not None
        for number in range(self._count // SESSIONS_PER_USER):
            user = await self._user(f"user{number}")
            for _ in range(SESSIONS_PER_USER):
                issued = await self._service.sessions.start(
                    user, client, scopes={"connect"}, kind="password", caller=Caller()
                )
                sid = self._service.tokens.read(issued.access_token, now=time.time()).sid
                self.sockets.append(Socket(user, issued.access_token, sid))
        doors = asyncio.Semaphore(_OPENING)
        inside = [asyncio.Event() for _ in self.sockets]
        for number, (socket, ready) in enumerate(zip(self.sockets, inside, strict=True)):
            self._tasks.append(asyncio.create_task(self._live(number, socket, doors, ready)))
        await asyncio.gather(*(ready.wait() for ready in inside))

    async def _user(self, name: str) -> User:
        # Their passwords are not the subject, and a thousand hashes would take a minute.
        async with self._service.database.write() as connection:
            return await users.add(
                connection,
                Username.parse(name),
                password_hash="",
                scope="connect",
                demo=False,
                now=int(time.time()),
            )

    def open(self, number: int, token: str) -> connect:
        """Open a socket at one of the two gateways."""
        return door(self._world.ports[number % 2], token)

    async def _live(
        self, number: int, socket: Socket, doors: asyncio.Semaphore, ready: asyncio.Event
    ) -> None:
        async with doors:
            connection = await self.open(number, socket.token)
            room = f"room:{number // _ROOM}"
            await connection.send(json.dumps({"id": 1, "subscribe": {"channel": room}}))
            answer = json.loads(await connection.recv())
            assert answer.get("id") == 1, answer
            assert "error" not in answer, answer
            ready.set()
        self._connections.append(connection)
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                socket.received += str(message).count('"pub"')
        if not self._over:
            socket.closed_at = time.monotonic()
            socket.code = connection.close_code

    async def publish(self, per_second: float) -> None:
        """Publish into the rooms in turn, by one user who is in none, until cancelled."""
        client = await self._service.clients.find("app")
        assert client is not None
        user = await self._user("publisher")
        issued = await self._service.sessions.start(
            user, client, scopes={"connect"}, kind="password", caller=Caller()
        )
        async with self.open(0, issued.access_token) as connection:
            reader = asyncio.create_task(_drain(connection))
            begin = time.monotonic()
            try:
                for number in itertools.count():
                    room = f"room:{number % (self._count // _ROOM)}"
                    order = {"id": number + 1, "publish": {"channel": room, "data": number}}
                    await connection.send(json.dumps(order))
                    await asyncio.sleep(max(0.0, begin + number / per_second - time.monotonic()))
            finally:
                reader.cancel()

    async def leave(self) -> None:
        """Go, all of them."""
        self._over = True
        await asyncio.gather(*(connection.close() for connection in self._connections))
        await asyncio.gather(*self._tasks)


async def _drain(connection: ClientConnection) -> None:
    async for message in connection:
        assert "error" not in json.loads(str(message).splitlines()[0]), message


class Revoking:
    """The ways to end something, each returning which sockets it ends."""

    def __init__(self, world: World, service: Service, http: httpx2.AsyncClient) -> None:
        self._world = world
        self._service = service
        self._http = http

    def ways(self) -> dict[str, Callable[[Socket], Coroutine[Any, Any, bool]]]:
        """Return name → what it does; True if all of the user's sockets end."""
        return {
            "log out one": self._log_out,
            "/revoke": self._revoke,
            "log out everywhere": self._log_out_everywhere,
            "disable user": self._disable,
        }

    async def _log_out(self, socket: Socket) -> bool:
        bearer = {"Authorization": f"Bearer {socket.token}"}
        answer = await self._http.delete(f"/sessions/{socket.sid}", headers=bearer)
        assert answer.is_success, answer.text
        return False

    async def _revoke(self, socket: Socket) -> bool:
        form = {"client_id": "app", "token": socket.token}
        answer = await self._http.post("/revoke", data=form)
        assert answer.status_code == httpx2.codes.OK, answer.text
        return False

    async def _log_out_everywhere(self, socket: Socket) -> bool:
        await self._service.administration.log_out_user(socket.user.id)
        return True

    async def _disable(self, socket: Socket) -> bool:
        await self._service.administration.disable_user(socket.user.id)
        return True


async def run(
    world: World,
    *,
    sockets: int,
    publications_per_second: float,
    revocations: int,
    revocations_per_second: float,
    outage_seconds: float = 0.0,
) -> Outcome:
    """Fill the gateways, revoke, and see who is closed when.

    Args:
        world: Running.
        sockets: On both gateways together.
        publications_per_second: Into rooms of ten sockets each.
        revocations: How many; in turn of every kind.
        revocations_per_second: At which pace.
        outage_seconds: For so long Redis is away, during which everything is revoked; it comes back
            empty, and the time counts from when it answers again.
    """
    async with (
        world.service() as service,
        httpx2.AsyncClient(base_url=world.services.url, trust_env=False, timeout=30) as http,
    ):
        crowd = Crowd(world, service, sockets)
        await crowd.enter()
        begin = time.monotonic()
        publishing = None
        if not outage_seconds:  # publishing is another promise then
            publishing = asyncio.create_task(crowd.publish(publications_per_second))
        if outage_seconds:
            world.redis.kill()
        outcome = Outcome()
        answered = await _revoke_all(
            crowd, Revoking(world, service, http), revocations, revocations_per_second
        )
        readable = 0.0
        if outage_seconds:
            await asyncio.sleep(max(0.0, begin + outage_seconds - time.monotonic()))
            await asyncio.to_thread(world.redis.start)
            readable = time.monotonic()
        async with asyncio.timeout(10):
            while any(socket.code is None for socket, _, _ in answered):  # noqa: ASYNC110 - many
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # for whoever would be closed by mistake
        for socket, way, at in answered:
            outcome.waits.append(max(0.0, socket.closed_at - max(at, readable)))
            outcome.codes.setdefault(way, set()).add(socket.code)
        revoked = {id(socket) for socket, _, _ in answered}
        outcome.bystanders = sum(
            socket.code is not None and id(socket) not in revoked for socket in crowd.sockets
        )
        outcome.seconds = time.monotonic() - begin
        outcome.received = sum(socket.received for socket in crowd.sockets)
        if publishing is not None:
            assert not publishing.done(), publishing.exception()
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
        await crowd.leave()
        return outcome


async def _revoke_all(
    crowd: Crowd, revoking: Revoking, count: int, per_second: float
) -> list[tuple[Socket, str, float]]:
    """Revoke something of every second user; returns who is concerned, by which way, and when."""
    ways = list(revoking.ways().items())
    by_user: dict[str, list[Socket]] = {}
    for socket in crowd.sockets:
        by_user.setdefault(socket.user.id, []).append(socket)
    assert len(by_user) >= 2 * count
    answered = []
    begin = time.monotonic()
    for number, family in enumerate(list(by_user.values())[: 2 * count : 2]):
        name, way = ways[number % len(ways)]
        everything = await way(family[0])
        at = time.monotonic()
        answered += [(socket, name, at) for socket in (family if everything else family[:1])]
        await asyncio.sleep(max(0.0, begin + number / per_second - time.monotonic()))
    return answered
