"""What becomes of tokens and their sockets while everything runs, as operators and users see it.

Two workers of the token service on PostgreSQL, Redis, and two gateways, all of them processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jose import jwt
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from auth_service import rotation
from auth_service.app import Service
from tests.attacks.running import PASSWORD, Process
from tests.integration.two_gateways import World, door
from tests.postgres_server import PostgresServer
from ws_gateway.revocations.stream import KEY as STREAM

pytestmark = pytest.mark.integration

#: Promise 2 of the design: no gateway delivers on a revoked token later than this.
PROMISED_SECONDS = 1.0
#: How long a log may be unreadable here before the doors are shut.
STALE_SECONDS = 3
PATIENCE_SECONDS = 60
FAR = 2_000_000_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[World]:
    """Everything, running."""
    world = World(
        tmp_path_factory.mktemp("lifecycle"),
        postgres.url(postgres.create()),
        workers=2,
        settings={"GATEWAY_REVOCATION_STALE_SECONDS": str(STALE_SECONDS)},
        runner="tests.integration.hurried",
    )
    with world.running():
        yield world


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """Ask the token service; each request by a connection of its own, so by either worker."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(
        base_url=world.services.url, trust_env=False, timeout=30, limits=limits
    ) as client:
        yield client


@pytest.fixture
async def operator(world: World) -> AsyncIterator[Service]:
    """What an operator's orders use; it does not publish, the serving processes do."""
    async with world.service() as service:
        yield service


class Tokens:
    """What a client holds.

    Args:
        answer: Of the token endpoint.
    """

    def __init__(self, answer: Any) -> None:  # noqa: ANN401 - JSON
        self.access = str(answer["access_token"])
        self.refresh = str(answer["refresh_token"])
        self.born = time.monotonic()

    @property
    def kid(self) -> str:
        """Which key has signed the access token."""
        return str(jwt.get_unverified_header(self.access)["kid"])

    @property
    def sid(self) -> str:
        """Of which session they are."""
        return str(jwt.get_unverified_claims(self.access)["sid"])

    @property
    def bearer(self) -> dict[str, str]:
        """The header that shows the access token."""
        return {"Authorization": f"Bearer {self.access}"}


async def log_in(http: httpx2.AsyncClient, user: str = "alice", client: str = "app") -> Tokens:
    """Open a session."""
    form = {"grant_type": "password", "client_id": client, "username": user, "password": PASSWORD}
    return await _tokens(http, form)


async def refresh(http: httpx2.AsyncClient, tokens: Tokens, client: str = "app") -> Tokens:
    """Go on with a session."""
    form = {"grant_type": "refresh_token", "client_id": client, "refresh_token": tokens.refresh}
    return await _tokens(http, form)


async def _tokens(http: httpx2.AsyncClient, form: dict[str, str]) -> Tokens:
    answer = await http.post("/token", data=form)
    assert answer.status_code == httpx2.codes.OK, answer.text
    return Tokens(answer.json())


async def knock(port: int, token: str) -> int:
    """Return the status of the answer to a handshake; 101 if there was a socket."""
    try:
        async with door(port, token):
            return 101
    except InvalidStatus as refused:
        response = refused.response
        assert (response.status_code == 503) is ("Retry-After" in response.headers)
        return response.status_code


async def knock_everywhere(world: World, token: str) -> list[int]:
    """Return what both gateways answer."""
    return [await knock(port, token) for port in world.ports]


async def until_let_in(world: World, token: str, status: int = 101) -> None:
    """Wait until both gateways answer a handshake so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for port in world.ports:
            while await knock(port, token) != status:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)


async def alive(socket: ClientConnection) -> bool:
    """Say whether a socket still answers."""
    await socket.send('{"id":7,"rpc":{"method":"none"}}')
    return '"id":7' in str(await socket.recv())


class Sockets:
    """Sockets with a name for each token, one at each gateway; notes when they are closed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._exits = AsyncExitStack()
        self._by_name: dict[str, dict[ClientConnection, asyncio.Task[float]]] = {}

    async def open(self, name: str, token: str) -> None:
        """Open a token's sockets."""
        opened = self._by_name[name] = {}
        for port in self._world.ports:
            socket = await self._exits.enter_async_context(door(port, token))
            assert await alive(socket)
            opened[socket] = asyncio.create_task(self._end(socket))

    @staticmethod
    async def _end(socket: ClientConnection) -> float:
        await socket.wait_closed()
        return time.monotonic()

    async def end(self, names: Collection[str], code: int, since: float) -> None:
        """See that these are closed with a code and in time, and that all the others stay."""
        ends = {socket: end for name in names for socket, end in self._by_name.pop(name).items()}
        async with asyncio.timeout(PATIENCE_SECONDS):
            ended_at = await asyncio.gather(*ends.values())
        assert {socket.close_code for socket in ends} == {code}
        assert max(ended_at) - since < PROMISED_SECONDS
        await self.stay()

    async def stay(self) -> None:
        """See that none has ended but those that should."""
        for name, opened in self._by_name.items():
            for socket in opened:
                assert await alive(socket), name

    async def close(self) -> None:
        """Leave."""
        await self._exits.aclose()
        await asyncio.gather(*(end for ends in self._by_name.values() for end in ends.values()))


@pytest.fixture
async def sockets(world: World) -> AsyncIterator[Sockets]:
    """Sockets that are closed in the end."""
    sockets = Sockets(world)
    yield sockets
    await sockets.close()


# Keys


class Going:
    """Clients that log in, refresh and come to both doors without a pause.

    They show what they have just got, what that replaced, and the oldest token that they would
    still call good. Whatever is refused ends the test.

    Args:
        world: Where.
        http: The token service.
        lifetime: How long they use a token, in seconds.
    """

    def __init__(self, world: World, http: httpx2.AsyncClient, *, lifetime: float) -> None:
        self._world = world
        self._http = http
        self._lifetime = lifetime
        #: Handshakes by key and port.
        self.accepted: dict[tuple[str, int], int] = defaultdict(int)

    async def live(self, user: str) -> None:
        """Go on until cancelled."""
        kept: deque[Tokens] = deque()
        while True:
            tokens = await log_in(self._http, user)
            kept.append(tokens)
            for _ in range(3):
                while time.monotonic() - kept[0].born > self._lifetime and len(kept) > 1:
                    kept.popleft()
                before, tokens = tokens, await refresh(self._http, tokens)
                kept.append(tokens)
                for shown in (tokens, before):
                    await self._enter(shown)
                if time.monotonic() - kept[0].born < self._lifetime:
                    await self._enter(kept[0])

    async def _enter(self, tokens: Tokens) -> None:
        for port in self._world.ports:
            assert await knock(port, tokens.access) == 101, f"{tokens.kid} at {port}"
            self.accepted[tokens.kid, port] += 1

    async def used(self, kid: str) -> None:
        """Wait until tokens of this key have opened both doors."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(self.accepted[kid, port] for port in self._world.ports):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def published(http: httpx2.AsyncClient) -> set[str]:
    """Return the ids in the key set."""
    keys = (await http.get("/.well-known/jwks.json")).json()["keys"]
    return {str(key["kid"]) for key in keys}


async def states(operator: Service) -> dict[str, str]:
    """Return what `keys list` says."""
    return {key.kid: state for key, state in await operator.rotation.states()}


async def test_keys_are_rotated_twice_and_no_client_notices(
    world: World,
    http: httpx2.AsyncClient,
    operator: Service,
    sockets: Sockets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pending, active, retired, removed: log-ins, refreshes, handshakes go on, sockets stay.

    The order of an operator, with a lead and a retention as short as everybody here looks.
    """
    lifetime = 2.0
    monkeypatch.setattr(rotation, "LEAD_SECONDS", 3)
    # Beside a token's life, what a busy machine may take from the look at its age to the door.
    monkeypatch.setattr(rotation, "RETENTION_SECONDS", int(lifetime) + 3)
    going = Going(world, http, lifetime=lifetime)
    oldest = await log_in(http)
    await sockets.open("of the first key", oldest.access)

    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(going.live(user)) for user in ("alice", "bob")]
        await going.used(oldest.kid)
        second = await operator.rotation.rotate()
        assert (await states(operator))[second.kid] == "pending"
        await going.used(second.kid)
        third = await operator.rotation.rotate()
        await going.used(third.kid)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while oldest.kid in await published(http):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        # The key set has lost it, so in a moment the gateways have, though the token lives on.
        await until_let_in(world, oldest.access, 401)
        done = dict(going.accepted)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while going.accepted == done:  # noqa: ASYNC110 - many
                await asyncio.sleep(0.02)
        for client in clients:
            client.cancel()

    now = await states(operator)
    assert [now[kid] for kid in (oldest.kid, second.kid, third.kid)] == [
        "removed",
        "retired",
        "active",
    ]
    assert {kid for kid, _ in going.accepted} == {oldest.kid, second.kid, third.kid}
    await sockets.stay()


async def test_a_revoked_key_takes_along_what_it_has_signed(
    world: World, http: httpx2.AsyncClient, operator: Service, sockets: Sockets
) -> None:
    """An emergency: the key that signs. Its sockets end in time, the sessions go on with another.

    What an older key has signed is as good as before.
    """
    before = await log_in(http, "bob")
    stolen = await operator.rotation.rotate(at_once=True)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (tokens := await log_in(http)).kid != stolen.kid:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    await until_let_in(world, tokens.access)
    await sockets.open("of an older key", before.access)
    await sockets.open("of the key", tokens.access)

    await operator.rotation.revoke(stolen.kid)

    await sockets.end({"of the key"}, 3005, time.monotonic())
    assert await knock_everywhere(world, tokens.access) == [401, 401]
    assert await knock_everywhere(world, before.access) == [101, 101]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (tokens := await refresh(http, tokens)).kid == stolen.kid:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await until_let_in(world, tokens.access)
    assert stolen.kid not in await published(http)


# Revocations


async def _revoke_token(http: httpx2.AsyncClient, tokens: Tokens, _: Service) -> None:
    answer = await http.post("/revoke", data={"client_id": "app", "token": tokens.access})
    assert answer.status_code == httpx2.codes.OK, answer.text


async def _end_session(http: httpx2.AsyncClient, tokens: Tokens, _: Service | None = None) -> None:
    answer = await http.delete(f"/sessions/{tokens.sid}", headers=tokens.bearer)
    assert answer.status_code == httpx2.codes.NO_CONTENT, answer.text


async def _log_out_everywhere(http: httpx2.AsyncClient, tokens: Tokens, _: Service) -> None:
    answer = await http.request(
        "DELETE", "/sessions", headers=tokens.bearer, data={"password": PASSWORD}
    )
    assert answer.status_code == httpx2.codes.NO_CONTENT, answer.text


async def _revoke_client(_: httpx2.AsyncClient, __: Tokens, operator: Service) -> None:
    await operator.administration.revoke_client("other")


@pytest.mark.parametrize(
    ("revoke", "ended", "code"),
    [
        pytest.param(_revoke_token, {"first"}, 3005, id="jti"),
        pytest.param(_end_session, {"first", "refreshed"}, 3500, id="sid"),
        pytest.param(
            _log_out_everywhere, {"first", "refreshed", "elsewhere", "other client"}, 3500, id="sub"
        ),
        pytest.param(_revoke_client, {"other client", "bob, other client"}, 3500, id="client"),
    ],
)
async def test_j24_a_revocation_ends_what_it_names(
    *,
    world: World,
    http: httpx2.AsyncClient,
    operator: Service,
    sockets: Sockets,
    revoke: Callable[[httpx2.AsyncClient, Tokens, Service], Awaitable[None]],
    ended: set[str],
    code: int,
) -> None:
    """On both gateways and nowhere else; its tokens are refused at both doors, others are not."""
    first = await log_in(http)
    held = {
        "first": first,
        "refreshed": await refresh(http, first),
        "elsewhere": await log_in(http),
        "other client": await log_in(http, client="other"),
        "bob": await log_in(http, "bob"),
        "bob, other client": await log_in(http, "bob", client="other"),
    }
    for name, tokens in held.items():
        await sockets.open(name, tokens.access)

    await revoke(http, first, operator)

    await sockets.end(ended, code, time.monotonic())
    for name, tokens in held.items():
        expected = 401 if name in ended else 101
        assert await knock_everywhere(world, tokens.access) == [expected] * 2, name


async def test_j24_no_socket_slips_through_while_its_session_ends(
    world: World, http: httpx2.AsyncClient
) -> None:
    """A revocation between the judgement on a token and its socket: handshakes all the time."""
    tokens = await log_in(http)
    slipped: list[ClientConnection] = []
    begun = asyncio.Event()

    async def storm(port: int) -> int:
        while True:
            try:
                slipped.append(await door(port, tokens.access))
            except InvalidStatus as refused:
                return refused.response.status_code
            begun.set()

    async with asyncio.TaskGroup() as group:
        storms = [group.create_task(storm(port)) for port in world.ports for _ in range(4)]
        await begun.wait()
        await _end_session(http, tokens)
        ended = time.monotonic()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(socket.wait_closed() for socket in slipped))
    assert time.monotonic() - ended < PROMISED_SECONDS
    assert {one.result() for one in storms} == {401}
    assert {socket.close_code for socket in slipped} == {3500}


# The log


@contextmanager
def frozen(auth: Process) -> Iterator[None]:
    """Let nothing of the token service run: neither its master nor a worker."""
    master = auth.process.pid
    workers = Path(f"/proc/{master}/task/{master}/children").read_text("ascii").split()
    pids = [master, *map(int, workers)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def readiness(world: World, *, wanted: bool) -> None:
    """Wait until both gateways say of the log that it is read, or is not, and nothing else."""
    status = httpx2.codes.OK if wanted else httpx2.codes.SERVICE_UNAVAILABLE
    others = {"broker": True, "keys": True}
    async with asyncio.timeout(PATIENCE_SECONDS):
        for gateway in (world.services.gateway, world.second):
            while True:
                answer = await asyncio.to_thread(gateway.internal.get, "/health/ready")
                if answer.json()["conditions"].get("revocations") is wanted:
                    break
                await asyncio.sleep(0.02)
            assert answer.status_code == status
            assert others.items() <= answer.json()["conditions"].items()


async def test_j23_the_door_follows_the_state_of_the_log(
    world: World, http: httpx2.AsyncClient, operator: Service, sockets: Sockets
) -> None:
    """Emptied, stale, written anew, ahead of the truth, and behind it.

    Who is revoked stays out all the while; who is inside stays in until the log says otherwise.
    """
    good, bad, fated = [await log_in(http) for _ in range(3)]
    await sockets.open("good", good.access)
    await sockets.open("fated", fated.access)
    await _end_session(http, bad)
    await until_let_in(world, bad.access, 401)
    await readiness(world, wanted=True)
    assert await knock_everywhere(world, good.access) == [101, 101]

    with frozen(world.services.auth):
        world.redis.ask("DEL", STREAM)
        await readiness(world, wanted=False)
        assert await knock_everywhere(world, bad.access) == [401, 401]
        # Until it is stale, what is known of it counts.
        await until_let_in(world, good.access, 503)
        assert await knock_everywhere(world, bad.access) == [401, 401]
        await sockets.stay()

    await readiness(world, wanted=True)
    assert await knock_everywhere(world, good.access) == [101, 101]
    assert await knock_everywhere(world, bad.access) == [401, 401]

    with frozen(world.services.auth):
        # Numbers that the token service has not reached, from a database that is not this one.
        entry = {"kind": "sid", "value": "nobody", "sub": "", "before": 0, "until": FAR}
        world.redis.ask(
            "XADD", STREAM, f"{FAR}-0", *(part for pair in entry.items() for part in pair)
        )
        await operator.administration.end_session(fated.sid)
        await sockets.stay()

    await sockets.end({"fated"}, 3500, time.monotonic())
    await readiness(world, wanted=True)
    assert await knock_everywhere(world, fated.access) == [401, 401]
    assert await knock_everywhere(world, good.access) == [101, 101]
    for gateway in (world.services.gateway, world.second):
        assert "has lost its end" in gateway.log
