"""The gateway under test: a clock moved by hand, a broker that can be held, recorded sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import ipaddress
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import settings
from msgspec import Raw
from prometheus_client import CollectorRegistry
from typing_extensions import override

from tests.ws_gateway.issuer import ISSUER, Clock, Publisher
from ws_gateway.broker.base import (
    PLAIN,
    POSITION_ONLY,
    History,
    HistoryFilter,
    Position,
    Published,
    PublishOptions,
)
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.channels import Channels
from ws_gateway.connection import Connection
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import InvalidToken
from ws_gateway.frames import PING, TEXT, split
from ws_gateway.hooks import Hooks
from ws_gateway.metrics import Metrics
from ws_gateway.node import Node
from ws_gateway.presence.memory import MemoryPresence
from ws_gateway.protocol.codec import JSON, Codec
from ws_gateway.protocol.messages import Publication
from ws_gateway.revocations.deny_set import DenySet, Kind
from ws_gateway.session import SessionLimits
from ws_gateway.verifier import Verifier
from ws_gateway.writer import WriteLimits

# How long an example takes says nothing on a shared machine.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")

WALL_TIME = 1_900_000_000.0
"""What the wall clock says when the monotonic one says 0."""

CHANNELS = """
[client]
personal_channel_namespace = "dm"

[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true

[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true

[namespaces.dm]
allow_publish_for_client = true

[namespaces.staff]

[namespaces.objects]
publication_data_format = "json_object"
allow_publish_for_client = true

[namespaces.bytes]
publication_data_format = "binary"
allow_subscribe_for_client = true
allow_publish_for_client = true
"""


Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to its end what has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("it waits")


class Alarm:
    """What ``call_at`` returns."""

    def __init__(self, loop: FakeLoop, when: float, callback: Callable[..., object]) -> None:
        self.loop = loop
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        """See asyncio.TimerHandle."""
        if self in self.loop.alarms:
            self.loop.alarms.remove(self)


class FakeLoop:
    """An event loop whose clock is moved by hand; what needs no clock is the running loop's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.alarms: list[Alarm] = []
        self.rung = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The same, as the type that is asked for; it has the few methods that are used."""
        return cast("asyncio.AbstractEventLoop", self)

    def time(self) -> float:
        """See AbstractEventLoop."""
        return self.now

    def call_at(self, when: float, callback: Callable[..., object]) -> Alarm:
        """See AbstractEventLoop."""
        alarm = Alarm(self, when, callback)
        self.alarms.append(alarm)
        return alarm

    def call_soon(self, callback: Callable[..., object], *args: object) -> asyncio.Handle:
        """See AbstractEventLoop."""
        return asyncio.get_running_loop().call_soon(callback, *args)

    def create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """See AbstractEventLoop."""
        return asyncio.get_running_loop().create_task(work)

    def advance(self, seconds: float) -> None:
        """Move the clock and ring what has become due, each at its own time."""
        end = self.now + seconds
        while self.alarms:
            alarm = min(self.alarms, key=lambda alarm: alarm.when)
            if alarm.when > end:
                break
            self.alarms.remove(alarm)
            self.now = max(self.now, alarm.when)
            self.rung += 1
            alarm.callback()
        self.now = end


class RecordingTransport:
    """A socket that takes everything, and says what it was given."""

    deflates = False

    def __init__(self, *, frame_pings: bool = True) -> None:
        self.frame_pings = frame_pings
        self.writes: list[bytes] = []
        self.unread = 0
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self.paused = False
        self.pauses = 0

    def write(self, data: bytes) -> None:
        """See Transport."""
        assert self.closed is None, "written after the close frame"
        self.writes.append(data)

    def buffered(self) -> int:
        """See Transport."""
        return self.unread

    def close(self, code: int, reason: str) -> None:
        """See Transport."""
        assert self.closed is None, "closed twice"
        self.closed = code, reason

    def abort(self) -> None:
        """See Transport."""
        self.aborted = True

    def pause_reading(self) -> None:
        """See Transport."""
        self.pauses += not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        """See Transport."""
        self.paused = False


class HeldBroker(MemoryBroker):
    """A broker at the end of a line that can be held up, and cut.

    While it is held, what is asked of it waits in order, as requests on a wire would.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self.down: Exception | None = None
        self.requests: list[tuple[str, str]] = []
        self._waiting: deque[tuple[asyncio.Future[None] | None, Callable[[], None]]] = deque()

    @override
    async def subscribe(self, channel: str) -> None:
        self.requests.append(("subscribe", channel))
        await self._request(partial(self._channels.add, channel))

    @override
    def unsubscribe(self, channel: str) -> None:
        self.requests.append(("unsubscribe", channel))
        if self.held:
            self._waiting.append((None, partial(super().unsubscribe, channel)))
        else:
            super().unsubscribe(channel)

    @override
    async def publish(
        self, channel: str, publication: Publication, options: PublishOptions = PLAIN
    ) -> Published:
        self.requests.append(("publish", channel))
        published: list[Published] = []
        await self._request(
            lambda: published.append(run(MemoryBroker.publish(self, channel, publication, options)))
        )
        return published[0]

    @override
    async def history(
        self,
        channel: str,
        wanted: HistoryFilter = POSITION_ONLY,
        *,
        meta_ttl: float = 0,
        seen: Position | None = None,
    ) -> History:
        self.requests.append(("history", channel))
        found: list[History] = []
        await self._request(
            lambda: found.append(
                run(MemoryBroker.history(self, channel, wanted, meta_ttl=meta_ttl, seen=seen))
            )
        )
        return found[0]

    async def _request(self, perform: Callable[[], None]) -> None:
        if self.held:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((future, perform))
            await future
        elif self.down is not None:
            raise self.down
        else:
            perform()

    @property
    def waiting(self) -> int:
        """How many requests are held."""
        return len(self._waiting)

    def release(self, error: Exception | None = None, *, count: int | None = None) -> None:
        """Let the oldest requests pass, all by default; with an error they fail instead."""
        if count is None:
            self.held = False
            count = len(self._waiting)
        for _ in range(count):
            future, perform = self._waiting.popleft()
            if error is None or future is None:
                perform()  # also if nobody waits for it any more
            if future is None or future.cancelled():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    @property
    def channels(self) -> set[str]:
        """What it is subscribed to."""
        return self._channels


class Tokens:
    """A verifier that knows a few tokens, and can be held up."""

    def __init__(self) -> None:
        self.known: dict[str, Credentials | Exception] = {}
        self.gate: asyncio.Event | None = None
        self.required = "connect"
        self.asked: list[str] = []
        self.denied = DenySet()

    async def verify(self, token: str) -> Credentials:
        """Look the token up, once the gate is open."""
        self.asked.append(token)
        if self.gate is not None:
            await self.gate.wait()
        found = self.known.get(token, InvalidToken("signature"))
        if isinstance(found, Exception):
            raise found
        return found

    def required_scope(self, _credentials: Credentials) -> str:
        """See Verifier."""
        return self.required

    def revoked(self, credentials: Credentials) -> Kind | None:
        """See Verifier."""
        return self.denied.find(credentials)


class Peer(NamedTuple):
    """One client: what it sends, and what it was sent."""

    connection: Connection
    transport: RecordingTransport

    def send(self, *commands: object) -> None:
        """Send one message of these commands."""
        self.send_text("\n".join(map(json.dumps, commands)))

    def send_text(self, message: str) -> None:
        """Send one message."""
        self.connection.receive(message.encode(), binary=False)

    async def receive(self) -> list[Any]:
        """Return what has come since the last call; a WebSocket ping is ``"ping"``."""
        await settle()
        frames = b"".join(self.transport.writes)
        self.transport.writes.clear()
        replies: list[Any] = []
        for opcode, payload in split(frames):
            if opcode == PING:
                replies.append("ping")
            else:
                assert opcode == TEXT
                replies.extend(json.loads(line) for line in payload.split(b"\n"))
        return replies

    async def ask(self, *commands: object) -> list[Any]:
        """Send one message, and return what comes."""
        self.send(*commands)
        return await self.receive()

    @property
    def closed(self) -> int | None:
        """The code that the gateway closed with."""
        return self.transport.closed[0] if self.transport.closed is not None else None


async def settle() -> None:
    """Let whatever is ready run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Gateway:
    """One node with its surroundings under the test's control."""

    def __init__(self, node: Node, loop: FakeLoop, broker: HeldBroker, tokens: Tokens) -> None:
        self.node = node
        self.loop = loop
        self.broker = broker
        self.tokens = tokens
        self.faults: list[dict[str, Any]] = []

    def open(
        self,
        credentials: Credentials | None = None,
        *,
        pings_seen: bool = True,
        codec: Codec = JSON,
        **options: Any,  # noqa: ANN401 - Connection's own
    ) -> Peer:
        """Open a connection."""
        transport = RecordingTransport(frame_pings=pings_seen)
        connection = Connection(
            transport, node=self.node, codec=codec, credentials=credentials, **options
        )
        return Peer(connection, transport)

    async def connect(self, credentials: Credentials, **options: Any) -> Peer:  # noqa: ANN401
        """Open a connection, and let it connect."""
        peer = self.open(credentials, **options)
        (reply,) = await peer.ask({"id": 1, "connect": {}})
        assert "connect" in reply
        return peer

    async def advance(self, seconds: float) -> None:
        """Move the clock in small steps, and let happen what that causes."""
        for _ in range(round(seconds * 10)):
            self.loop.advance(0.1)
        await settle()

    def publish(self, channel: str, data: object) -> None:
        """Let a publication come from elsewhere; bytes are one that is no JSON."""
        payload = Raw(data) if isinstance(data, bytes) else raw(data)
        self.node.on_publication(channel, Publication(data=payload))

    async def check_nothing_left(self) -> None:
        """End what is open; then nothing of it may remain anywhere."""
        for member in list(self.node._members.values()):
            assert isinstance(member, Connection)
            member.lost(1006)
        self.broker.release()
        await settle()
        gc.collect(1)
        await settle()
        assert not self.node._members
        assert not len(self.node.users)
        assert not len(self.node._eviction)
        assert not len(self.node.hub)
        assert not self.node.hub.subscriptions
        assert not self.node.hub._watchers
        assert not self.node.hub._ahead
        assert not self.node.hub._filters
        assert not self.node.hub._held_back
        assert not self.node.hub._left_out
        assert not self.node.hub._numbers
        assert not len(self.node.presence)
        assert not self.broker.channels
        assert not len(self.node.timers)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not self.faults


def raw(data: object) -> Raw:
    """Return a payload."""
    return Raw(json.dumps(data).encode())


@pytest.fixture
def fake_loop() -> FakeLoop:
    """A clock that stands still."""
    return FakeLoop()


@pytest.fixture
def make_credentials() -> Callable[..., Credentials]:
    """A factory of what good tokens say; an hour is left of them."""

    def make(user: str = "alice", **claims: Any) -> Credentials:  # noqa: ANN401
        values: dict[str, Any] = {
            "user": user,
            "client_id": "chat",
            "scopes": frozenset({"connect"}),
            "expires_at": WALL_TIME + 3600,
            "jti": "j",
            "sid": "s",
            "issuer": "https://issuer.example",
        }
        return Credentials(**values | claims)

    return make


@pytest.fixture
def alice(make_credentials: Callable[..., Credentials]) -> Credentials:
    """A user."""
    return make_credentials("alice", info=b'{"name":"Alice"}')


@pytest.fixture
def bob(make_credentials: Callable[..., Credentials]) -> Credentials:
    """Another one."""
    return make_credentials("bob")


def build_gateway(
    fake_loop: FakeLoop,
    *,
    hooks: Hooks | None = None,
    channels: str = CHANNELS,
    insecure: bool = False,
    node_options: dict[str, Any] | None = None,
    **limits: Any,  # noqa: ANN401 - SessionLimits' own
) -> Gateway:
    """Make a gateway, for whoever checks himself what is left of it."""
    broker, tokens = HeldBroker(), Tokens()
    node = Node(
        broker=broker,
        presence=MemoryPresence(users=10, clock=lambda: WALL_TIME + fake_loop.now - 1000),
        channels=replace(Channels.from_toml(channels), insecure=insecure),
        hooks=hooks,
        verify=tokens.verify,
        required_scope=tokens.required_scope,
        metrics=Metrics(CollectorRegistry(), "test"),
        session_limits=SessionLimits(**limits),
        write_limits=WriteLimits(max_queue_bytes=10_000, max_stall_seconds=5),
        max_message_bytes=1000,
        version="test 1",
        loop=fake_loop.loop,
        clock=lambda: WALL_TIME + fake_loop.now - 1000,
        revoked=tokens.revoked,
        **(node_options or {}),
    )
    broker._handler = node.on_publication
    broker._changed = node.hub.announce
    gateway = Gateway(node, fake_loop, broker, tokens)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: gateway.faults.append(context))
    return gateway


@pytest.fixture
async def make_gateway(fake_loop: FakeLoop) -> AsyncIterator[Callable[..., Gateway]]:
    """A factory of gateways that are checked for leftovers after the test."""
    gateways: list[Gateway] = []

    def make(**options: Any) -> Gateway:  # noqa: ANN401 - build_gateway's own
        gateways.append(build_gateway(fake_loop, **options))
        return gateways[-1]

    yield make
    for gateway in gateways:
        await gateway.check_nothing_left()
        if gateway.node.hooks is not None:
            gateway.node.hooks.close()


@pytest.fixture
async def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway without hooks."""
    return make_gateway()


def steps(work: Coroutine[Any, Any, Any]) -> int:
    """Run a coroutine to its end without a loop, and return how often it had to wait."""
    waits = 0
    while True:
        try:
            work.send(None)
        except StopIteration:
            return waits
        waits += 1


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


@pytest.fixture(params=["tcp", "tls"])
def either(
    request: pytest.FixtureRequest, certificate: tuple[Path, Path]
) -> tuple[Path, Path] | None:
    """The way to the server: plain, or with TLS."""
    return certificate if request.param == "tls" else None


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def publisher() -> Publisher:
    """An issuer that is there."""
    return Publisher()


@pytest.fixture
def verifier(publisher: Publisher, clock: Clock) -> Verifier:
    """One issuer, by the default profile."""
    return Verifier([ISSUER], fetch=publisher, now=clock, monotonic=clock)
