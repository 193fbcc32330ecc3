"""What a connection costs, in things that can be counted: a gate that is no timed test.

Calls of Python functions, frames built, writes made and blocks kept do not depend on the machine.
A bound here is what was counted plus a tenth; whoever passes one either finds what was added for
nothing, or raises it and says why. Times are what ``make bench`` is for.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from math import inf
from types import FrameType
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jwt
from jose.backends.base import Key
from typing_extensions import override
from uvicorn.server import ServerState

from ws_gateway import frames
from ws_gateway.app import create_app, open_gateway
from ws_gateway.server import Handshake, HTTPProtocol
from ws_gateway.settings import Settings
from ws_gateway.verifier import Issuer, Verifier

ISSUER = "https://localhost:8443"
KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
ROUNDS = 5
"""Of each the cheapest counts: a timer of the gateway may ring in any of them."""
CROWD = 50

CALLS_PER_HANDSHAKE = 221
CALLS_PER_NEW_TOKEN = 42
CALLS_PER_CONNECT = 45
CALLS_PER_SUBSCRIBE = 41
CALLS_PER_PUBLISH = 57
"""With all its deliveries, of which none takes one."""
BLOCKS_PER_CONNECTION = 27

CHANNELS = """
[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
presence = true
"""


class Wire(asyncio.Transport):
    """A socket that takes everything at once, and says how often it was given something."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.2", 40000), "sockname": ("127.0.0.1", 8011)})
        self.writes: list[bytes] = []
        self.protocol: Any = None

    @override
    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.writes.append(bytes(data))

    @override
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    @override
    def is_closing(self) -> bool:
        return False

    @override
    def get_write_buffer_size(self) -> int:
        return 0


class Count:
    """What was done.

    Attributes:
        calls: Of Python functions, but those of the event loop; a coroutine that goes on is one.
        frames: Frames built.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.frames = 0

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count an event (see ``sys.setprofile``)."""
        code = frame.f_code
        if event != "call" or code.co_filename in (__file__, selectors.__file__):
            return
        if "/asyncio/" in code.co_filename:
            return
        self.calls += 1
        self.frames += code is frames.frame.__code__


@contextmanager
def counted() -> Iterator[Count]:
    """Count what is done meanwhile."""
    count = Count()
    before = sys.getprofile()
    sys.setprofile(count.note)
    try:
        yield count
    finally:
        sys.setprofile(before)


class Front:
    """A gateway behind its protocol classes, without a socket."""

    def __init__(self, open_protocol: Callable[[], HTTPProtocol]) -> None:
        self._open_protocol = open_protocol
        self.wires: list[Wire] = []

    def accept(self) -> Wire:
        """Let a client come."""
        wire = Wire()
        wire.protocol = self._open_protocol()
        wire.protocol.connection_made(wire)
        self.wires.append(wire)
        return wire

    async def shake_hands(self, token: str, subprotocol: str = "centrifuge-json") -> Wire:
        """Open a WebSocket."""
        wire = self.accept()
        wire.protocol.data_received(request(token, subprotocol))
        await settle()
        assert wire.writes[0].startswith(b"HTTP/1.1 101 ")
        wire.writes.clear()
        return wire

    async def connect(self, token: str) -> Wire:
        """Let a client connect, and subscribe to two channels."""
        wire = await self.shake_hands(token)
        for message in (CONNECT, SUBSCRIBE_TWICE):
            wire.protocol.data_received(message)
            await settle()
        assert b'"id":3' in wire.writes[-1]
        wire.writes.clear()
        return wire

    def hang_up(self, wire: Wire) -> None:
        """Let a client go."""
        wire.protocol.connection_lost(None)
        self.wires.remove(wire)


def request(token: str, subprotocol: str) -> bytes:
    """Return the head of a handshake, about as long as a browser's."""
    return "\r\n".join(
        (
            "GET /connection/websocket HTTP/1.1",
            "Host: localhost:8443",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "User-Agent: a program",
            f"Authorization: Bearer {token}",
            f"Sec-WebSocket-Protocol: {subprotocol}",
            "",
            "",
        )
    ).encode()


def message(*commands: object) -> bytes:
    """Return a client's frame; the mask of zeros is allowed."""
    payload = "\n".join(map(json.dumps, commands)).encode()
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


CONNECT = message({"id": 1, "connect": {}})
SUBSCRIBE_TWICE = message(
    {"id": 2, "subscribe": {"channel": "room:a"}}, {"id": 3, "subscribe": {"channel": "room:b"}}
)
PUBLISH = message({"id": 4, "publish": {"channel": "room:a", "data": {"text": "hello"}}})


async def settle() -> None:
    """Let what is ready run: the writes of this turn, and what follows from them."""
    for _ in range(5):
        await asyncio.sleep(0)


def sign(jti: str) -> str:
    """Return a good access token."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": ["drawbridge"],
        "exp": now + 3600,
        "iat": now,
        "jti": jti,
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect",
        "info": {"name": "Alice"},
    }
    return jwt.encode(claims, KEY, algorithm="ES256", headers={"typ": "at+jwt", "kid": "k"})


@pytest.fixture
def token() -> str:
    """A good access token, which is verified once and then known."""
    return sign("j")


async def publish_keys(_url: str) -> bytes:
    """Return the issuer's key set."""
    return json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()


@pytest.fixture
async def front(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    """A gateway of the default settings; all that is done for a client in production."""
    monkeypatch.setattr("ws_gateway.verifier.fetch_document", publish_keys)
    # A machine that stands still in the middle of a message would get a second write.
    monkeypatch.setattr("ws_gateway.connection._TURN_SECONDS", inf)
    channels = tmp_path_factory.mktemp("cost") / "channels.toml"
    channels.write_text(CHANNELS, "utf-8")
    settings = Settings.from_environment({"GATEWAY_CHANNELS_FILE": str(channels)})
    async with open_gateway(settings) as gateway:
        await gateway.verifier.load_keys()
        config = uvicorn.Config(
            create_app(gateway),
            http=HTTPProtocol,
            ws=Handshake,
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
        )
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        made = Front(lambda: HTTPProtocol(config, state, {}, loop))
        yield made
        for wire in list(made.wires):
            made.hang_up(wire)
        await settle()


async def test_handshake_of_a_known_token(front: Front, token: str) -> None:
    """The FastAPI route and its dependency run on each; one write answers."""
    front.hang_up(await front.connect(token))  # the first one fills caches
    found = []
    for _ in range(ROUNDS):
        with counted() as count:
            wire = front.accept()
            wire.protocol.data_received(request(token, "centrifuge-json"))
            await settle()
        assert len(wire.writes) == 1
        assert wire.writes[0].startswith(b"HTTP/1.1 101 ")
        found.append(count.calls)

    assert min(found) <= CALLS_PER_HANDSHAKE


async def test_new_token() -> None:
    """Beside the signature itself, which is no matter of calls."""
    issuer = Issuer(issuer=ISSUER, jwks_url=ISSUER, audience="drawbridge")
    verifier = Verifier([issuer], fetch=publish_keys)
    await verifier.load_keys()
    await verifier.verify(sign("first"))
    found = []
    for number in range(ROUNDS):
        unknown = sign(str(number))
        with counted() as count:
            await verifier.verify(unknown)
        found.append(count.calls)

    assert min(found) <= CALLS_PER_NEW_TOKEN


async def test_first_commands(front: Front, token: str) -> None:
    """One frame for each reply, one write for each message."""
    front.hang_up(await front.connect(token))
    connects: list[int] = []
    subscribes: list[int] = []
    for _ in range(ROUNDS):
        wire = await front.shake_hands(token)
        for sent, replies, found in ((CONNECT, 1, connects), (SUBSCRIBE_TWICE, 2, subscribes)):
            with counted() as count:
                wire.protocol.data_received(sent)
                await settle()
            assert count.frames == replies
            assert len(wire.writes) == 1
            found.append(count.calls)
            wire.writes.clear()

    assert min(connects) <= CALLS_PER_CONNECT
    assert min(subscribes) <= 2 * CALLS_PER_SUBSCRIBE


async def test_publication(front: Front, token: str) -> None:
    """One frame for all who read the same, one write for each of them."""
    wires = [await front.connect(token) for _ in range(CROWD)]
    publisher = wires[0]
    found = []
    for _ in range(ROUNDS):
        with counted() as count:
            publisher.protocol.data_received(PUBLISH)
            await settle()
        assert count.frames == 2, "the push and the reply"
        assert [len(wire.writes) for wire in wires] == [1] * CROWD
        found.append(count.calls)
        for wire in wires:
            wire.writes.clear()

    assert min(found) <= CALLS_PER_PUBLISH


async def test_publications_ready_together(front: Front, token: str) -> None:
    """Sixteen make one write for each subscriber; a known frame is not built again."""
    wires = [await front.connect(token) for _ in range(CROWD)]
    with counted() as count:
        for _ in range(16):
            wires[0].protocol.data_received(PUBLISH)
        await settle()

    assert count.frames == 2 * 16
    assert [len(wire.writes) for wire in wires] == [1] * CROWD


async def test_blocks_of_an_idle_connection(front: Front, token: str) -> None:
    """Nothing of the handshake stays; and nothing of the connection when it has gone."""
    for wire in [await front.connect(token) for _ in range(CROWD)]:
        front.hang_up(wire)  # containers have grown to what they will be
    await settle()
    gc.collect()
    before = sys.getallocatedblocks()

    wires = [await front.connect(token) for _ in range(CROWD)]
    gc.collect()
    kept = (sys.getallocatedblocks() - before) / CROWD
    for wire in wires:
        front.hang_up(wire)
    wires.clear()
    del wire
    await settle()
    gc.collect()
    left = (sys.getallocatedblocks() - before) / CROWD

    assert kept <= BLOCKS_PER_CONNECTION
    assert left < 10  # the last ends of connections are kept, a thousand at most
