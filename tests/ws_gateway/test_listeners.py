"""From the listening socket to the end of a drain, with real signals."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.embedded import loopback
from ws_gateway import server
from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.listeners import Listener, bind, bind_for_each, serve
from ws_gateway.server import TAKE_OVER
from ws_gateway.transport import Receiver, Transport

PATIENCE = 30.0
"""Only a failing test waits for so long."""

LOOPBACK = ("127.0.0.1", 0)


def address(listener: socket.socket) -> tuple[str, int]:
    """Return where a socket listens."""
    host, port = listener.getsockname()[:2]
    return host, port


def is_free(where: tuple[str, int]) -> bool:
    """Tell whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(where) == errno.ECONNREFUSED


class TestBind:
    """All addresses or none, and one line that names the variable."""

    def test_port_is_open_from_now_on(self) -> None:
        """Who connects early waits in the backlog instead of being refused."""
        (listener,) = bind([LOOPBACK], variable="GATEWAY_BIND")

        with listener, socket.create_connection(address(listener)) as client:
            assert client.getpeername() == address(listener)
            assert not listener.getblocking()

    def test_busy_port_is_named_with_its_variable(self) -> None:
        """So that it can be looked for."""
        (listener,) = bind([LOOPBACK], variable="GATEWAY_BIND")
        host, port = address(listener)

        with listener, pytest.raises(ConfigurationError) as caught:
            bind([(host, port)], variable="GATEWAY_INTERNAL_BIND")

        assert str(caught.value) == (
            f"GATEWAY_INTERNAL_BIND: cannot listen on {host}:{port}: Address already in use"
        )

    def test_address_given_twice_is_busy(self) -> None:
        """Although SO_REUSEADDR would let two sockets bind it."""
        (listener,) = bind([LOOPBACK], variable="X")
        where = address(listener)
        listener.close()

        with pytest.raises(ConfigurationError, match="already in use"):
            bind([where, where], variable="GATEWAY_BIND")

        assert is_free(where)

    def test_nothing_is_left_bound(self) -> None:
        """A failed start leaves no port that looks open."""
        (busy,) = bind([LOOPBACK], variable="X")
        (listener,) = bind([LOOPBACK], variable="X")
        free = address(listener)
        listener.close()

        with busy, pytest.raises(ConfigurationError):
            bind([free, address(busy)], variable="GATEWAY_BIND")

        assert is_free(free)

    def test_port_of_a_connection_that_lingers_can_be_had(self) -> None:
        """A restart need not wait for TIME_WAIT (SO_REUSEADDR)."""
        (listener,) = bind([LOOPBACK], variable="X")
        where = address(listener)
        client = socket.create_connection(where)
        listener.setblocking(True)
        accepted, _ = listener.accept()
        accepted.close()  # first, so that the wait is on this side
        client.close()
        listener.close()

        (again,) = bind([where], variable="X")
        again.close()

    def test_each_worker_has_a_socket_of_its_own_on_the_same_port(self) -> None:
        """The kernel chooses whose turn it is, so that all have their share."""
        workers = bind_for_each([LOOPBACK], variable="X", workers=3)

        with contextlib.ExitStack() as bound:
            for (listener,) in workers:
                bound.enter_context(listener)
            ports = {address(listener) for (listener,) in workers}
            assert len(ports) == 1
            with pytest.raises(ConfigurationError, match="already in use"):
                bind_for_each(ports, variable="X", workers=2)
            with pytest.raises(ConfigurationError, match="already in use"):
                bind_for_each(ports, variable="X", workers=1)

    @pytest.mark.skipif(not loopback.has_ipv6(), reason="no IPv6 here")
    def test_ipv6_is_ipv6_only(self) -> None:
        """So that both families can have the same port."""
        (sixth,) = bind([("::1", 0)], variable="X")
        port = address(sixth)[1]
        (fourth,) = bind([("127.0.0.1", port)], variable="X")

        with sixth, fourth:
            assert sixth.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1

    @pytest.mark.parametrize(
        ("host", "reason"),
        [
            ("192.0.2.1", "Cannot assign requested address"),
            ("::zz", "not known|not supported"),
            ("a b", "not known"),
            ("\xe9..x", "encoding"),
            ("a\0b", "null"),
        ],
    )
    def test_address_that_cannot_be_had_is_one_line(self, host: str, reason: str) -> None:
        """Whatever the operating system calls it."""
        with pytest.raises(ConfigurationError, match=f"^GATEWAY_BIND: .*({reason})"):
            bind([(host, 0)], variable="GATEWAY_BIND")


class Socket:
    """A connection that says nothing."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """See Receiver."""

    def seen(self) -> None:
        """See Receiver."""

    def stalled(self) -> None:
        """See Receiver."""

    def drained(self) -> None:
        """See Receiver."""

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """See Receiver."""

    def lost(self, code: int) -> None:
        """See Receiver."""


class Application:
    """Takes WebSockets over, until it drains; answers requests with its name."""

    def __init__(self, name: str = "public") -> None:
        self.name = name.encode()
        self.sockets: list[Socket] = []
        self.draining = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Serve one request."""
        del receive
        if scope["type"] == "http":
            headers = [(b"content-length", str(len(self.name)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self.name})
        elif self.draining:
            await send({"type": "websocket.http.response.start", "status": 503})
            await send({"type": "websocket.http.response.body"})
        else:
            scope["extensions"][TAKE_OVER](self._open, None, 1024)

    def _open(self, transport: Transport) -> Receiver:
        self.sockets.append(Socket(transport))
        return self.sockets[-1]


class Process:
    """What ``serve`` serves, in this very process."""

    def __init__(self) -> None:
        self.public, self.internal = Application(), Application("internal")
        sockets = bind([LOOPBACK, LOOPBACK], variable="X")
        self.where, self.where_internal = map(address, sockets)
        self.listeners = [
            Listener(app=self.public, sockets=sockets[:1]),
            Listener(app=self.internal, sockets=sockets[1:]),
        ]
        self.drains: list[asyncio.Event] = []
        self.draining = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.task: asyncio.Task[None] | None = None

    async def drain(self, hurry: asyncio.Event) -> None:
        """Say goodbye, and take as long as the test wants."""
        self.drains.append(hurry)
        self.public.draining = True
        self.draining.set()
        for found in self.public.sockets:
            found.transport.close(3001, "shutdown")
        await self.may_end.wait()

    async def start(self) -> None:
        """Serve, and wait until it does: then the signals are handled too."""
        self.task = asyncio.create_task(serve(self.listeners, drain=self.drain))
        for where in (self.where, self.where_internal):
            await ask(where)

    async def connect(self) -> ClientConnection:
        """Open a WebSocket."""
        return await connect(f"ws://127.0.0.1:{self.where[1]}/", ping_interval=None)

    async def ended(self) -> None:
        """Wait until it has stopped."""
        assert self.task is not None
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)


async def ask(where: tuple[str, int], tls: ssl.SSLContext | None = None) -> bytes:
    """Return what is answered to a request."""
    reader, writer = await asyncio.open_connection(*where, ssl=tls)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    response = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return response


def send(number: signal.Signals) -> None:
    """Send a signal to ourselves."""
    os.kill(os.getpid(), number)


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """A process that serves; it is ended if the test has not done so."""
    process = Process()
    await process.start()
    yield process
    assert process.task is not None
    process.may_end.set()
    if not process.task.done():
        send(signal.SIGTERM)
    await process.ended()


class TestServe:
    """The order of an end: no new connections, a goodbye to the open ones, then the stop."""

    async def test_each_listener_has_its_application(self, process: Process) -> None:
        """And says nothing of what it is made of."""
        public, internal = await ask(process.where), await ask(process.where_internal)

        assert public.endswith(b"\r\n\r\npublic")
        assert internal.endswith(b"\r\n\r\ninternal")
        assert b"server:" not in public.lower()

    async def test_sigterm_drains_and_stops(self, process: Process) -> None:
        """Without a hurry."""
        send(signal.SIGTERM)
        await process.ended()

        (hurry,) = process.drains
        assert not hurry.is_set()
        assert is_free(process.where)
        assert is_free(process.where_internal)

    async def test_everything_answers_while_it_drains(self, process: Process) -> None:
        """Probes and scrapes go on; new WebSockets are refused in words."""
        process.may_end.clear()
        send(signal.SIGTERM)
        await process.draining.wait()

        assert (await ask(process.where_internal)).endswith(b"internal")
        with pytest.raises(InvalidStatus) as caught:
            await process.connect()
        assert caught.value.response.status_code == 503

        process.may_end.set()
        await process.ended()

    async def test_second_sigterm_hurries(self, process: Process) -> None:
        """The one who waits has lost patience."""
        process.may_end.clear()
        send(signal.SIGTERM)
        await process.draining.wait()
        (hurry,) = process.drains
        assert not hurry.is_set()
        send(signal.SIGTERM)

        await asyncio.wait_for(hurry.wait(), PATIENCE)
        process.may_end.set()
        await process.ended()
        assert len(process.drains) == 1

    async def test_sigint_hurries(self, process: Process) -> None:
        """Ctrl-C at a terminal."""
        send(signal.SIGINT)
        await process.ended()

        (hurry,) = process.drains
        assert hurry.is_set()

    async def test_sockets_get_their_code_before_the_stop(self, process: Process) -> None:
        """Design, promise 4; uvicorn alone would cut them with 1012."""
        client = await process.connect()
        send(signal.SIGTERM)

        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()

        await process.ended()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (3001, "shutdown")
        assert caught.value.rcvd_then_sent

    async def test_stop_waits_for_close_frames(self, process: Process) -> None:
        """A closing handshake takes a round trip; until then the process lives."""
        reader, writer = await asyncio.open_connection(*process.where)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        send(signal.SIGTERM)
        assert await reader.readexactly(12) == b"\x88\x0a\x0b\xb9shutdown"
        assert process.task is not None
        done, _ = await asyncio.wait({process.task}, timeout=0.4)
        assert not done
        writer.write(b"\x88\x82\x00\x00\x00\x00\x0b\xb9")
        await process.ended()

        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async def test_signals_are_given_back(self, process: Process) -> None:
        """Afterwards Ctrl-C is a KeyboardInterrupt again."""
        send(signal.SIGTERM)
        await process.ended()

        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_peer_that_never_answers_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its time is bounded."""
    monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.01)
    process = Process()
    await process.start()
    reader, writer = await asyncio.open_connection(*process.where)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    send(signal.SIGTERM)
    await process.ended()

    assert await reader.readexactly(12) == b"\x88\x0a\x0b\xb9shutdown"
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_second_signal_hurries_past_a_peer_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has its close frame; whoever signals twice does not want to wait for its answer."""
    monkeypatch.setattr(server, "_CLOSE_SECONDS", 3600)
    process = Process()
    await process.start()
    reader, writer = await asyncio.open_connection(*process.where)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    send(signal.SIGTERM)
    frame = await reader.readexactly(12)
    send(signal.SIGTERM)
    await process.ended()

    assert frame == b"\x88\x0a\x0b\xb9shutdown"
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
def make_certificate(tmp_path: Path) -> Callable[[], tuple[Path, Path]]:
    """A factory of certificates that sign themselves, and their keys."""

    def make() -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .sign(key, hashes.SHA256())
        )
        certificate, private = tmp_path / "certificate.pem", tmp_path / "key.pem"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, private

    return make


async def test_listener_with_a_certificate_speaks_tls(
    make_certificate: Callable[[], tuple[Path, Path]],
) -> None:
    """What comes without is no request."""
    certificate, key = make_certificate()
    process = Process()
    public, internal = process.listeners
    process.listeners = [
        Listener(app=public.app, sockets=public.sockets, certificate=certificate, key=key),
        internal,
    ]
    process.task = asyncio.create_task(serve(process.listeners, drain=process.drain))
    await ask(process.where_internal)
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False

    answer = await ask(process.where, context)
    plain = await ask(process.where)
    send(signal.SIGTERM)
    await process.ended()

    assert answer.endswith(b"public")
    assert plain == b""
