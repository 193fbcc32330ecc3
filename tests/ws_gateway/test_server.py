"""The socket of a client, from its first byte to its last, over real TCP and TLS on uvloop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import functools
import gc
import hashlib
import ipaddress
import logging
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, ParamSpec

import pytest
import uvicorn
import uvloop
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typing_extensions import override
from uvicorn.server import ServerState
from websockets.asyncio.client import connect as reference_connect

from ws_gateway import server
from ws_gateway.codes import DisconnectCode
from ws_gateway.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from ws_gateway.server import TAKE_OVER, Deadlines, Expiring, Handshake, HTTPProtocol, Socket
from ws_gateway.transport import Receiver, Transport

KEY = base64.b64encode(b"sixteen bytes :)").decode()
LIMIT = 65_536
MASK = b"\x00\x00\x00\x00"  # allowed, and leaves the payload readable
HOST = "Host: gateway"
PATIENCE = 10.0
"""Only a failing test waits for so long."""

Parameters = ParamSpec("Parameters")
Headers = dict[str, str]


def on_uvloop(
    test: Callable[Parameters, Coroutine[Any, Any, None]],
) -> Callable[Parameters, None]:
    """Run a test on the event loop of production, and fail it if the loop met an error."""

    @functools.wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        faults: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda _loop, context: faults.append(context)
            )
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watched())
        assert faults == []

    return run


class Recorder:
    """A connection that notes what it is told, and closes when it is told to."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.events: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """See Receiver."""
        self._note("binary" if binary else "text", payload)

    def seen(self) -> None:
        """See Receiver."""
        self._note("seen", None)

    def stalled(self) -> None:
        """See Receiver."""
        self._note("stalled", None)

    def drained(self) -> None:
        """See Receiver."""
        self._note("drained", None)

    def failed(self, code: DisconnectCode, detail: str) -> None:
        """See Receiver."""
        del detail
        self._note("failed", code)
        self.transport.close(code, code.reason)

    def lost(self, code: int) -> None:
        """See Receiver."""
        self._note("lost", code)

    def _note(self, what: str, value: Any) -> None:  # noqa: ANN401 - of each event its own
        self.events.append((what, value))
        self._news.set()

    def all(self, what: str) -> list[Any]:
        """Return the values of all events of one kind."""
        return [value for kind, value in self.events if kind == what]

    async def until(self, what: str, count: int = 1) -> list[Any]:
        """Wait for so many events of one kind, and return their values."""
        while len(self.all(what)) < count:
            self._news.clear()
            await self._news.wait()
        return self.all(what)


class Application:
    """An ASGI application with a path for everything that can become of a request."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[Recorder] = asyncio.Queue()
        self.scopes: list[dict[str, Any]] = []
        self.taken: list[bool] = []
        self.running = asyncio.Event()
        self.proceed = asyncio.Event()
        self.gone: list[dict[str, Any]] = []
        self.subprotocol: str | None = None
        self.headers_at_the_end: list[tuple[bytes, bytes]] = []

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Do what the path says."""
        self.scopes.append(scope)
        self.running.set()
        if scope["path"] == "/held":
            await self.proceed.wait()
        if scope["type"] == "http":
            await self._echo_size(scope, receive, send)
            return
        match scope["path"]:
            case "/socket" | "/held":
                self.taken.append(
                    scope["extensions"][TAKE_OVER](self._open, self.subprotocol, LIMIT)
                )
            case "/denied":
                start: dict[str, Any] = {"type": "websocket.http.response.start", "status": 429}
                start["headers"] = [(b"retry-after", b"7"), (b"content-type", b"text/odd")]
                body = {"type": "websocket.http.response.body"}
                await send(start)
                await send(body | {"body": b"not ", "more_body": True})
                await send(body | {"body": b"now"})
            case "/odd-status":
                await send({"type": "websocket.http.response.start", "status": 499})
                await send({"type": "websocket.http.response.body"})
            case "/closes":
                assert await receive() == {"type": "websocket.connect"}
                await send({"type": "websocket.close", "code": 1000})
            case "/raises":
                raise RuntimeError("a secret of ours")
            case "/accepts":
                await send({"type": "websocket.accept"})
            case "/waits":
                await receive()
                self.gone.append(await receive())
            case _:
                return

    def _open(self, transport: Transport) -> Receiver:
        recorder = Recorder(transport)
        self.connections.put_nowait(recorder)
        return recorder

    async def _echo_size(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.append(message)
                return
            size += len(message["body"])
            more = message["more_body"]
        self.headers_at_the_end = list(scope["headers"])
        body = b"%s %d" % (scope["path"].encode(), size)
        if scope["path"] == "/large":
            body *= 1_000_000
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Client:
    """A peer that sends bytes as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, *pieces: bytes | str) -> None:
        """Send these bytes in one piece, if anybody is there."""
        stream = b"".join(p.encode("latin-1") if isinstance(p, str) else p for p in pieces)
        if not self._writer.is_closing():
            self._writer.write(stream)

    async def send_slowly(self, stream: bytes) -> None:
        """Send a stream byte by byte, until the other end hangs up."""
        with contextlib.suppress(ConnectionError):
            for index in range(len(stream)):
                self._writer.write(stream[index : index + 1])
                await self._writer.drain()
                await asyncio.sleep(0)

    async def response(self) -> tuple[int, Headers]:
        """Read the head of a response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status, _ = start.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs)
        return int(status), headers

    async def refusal(self) -> tuple[int, Headers, bytes]:
        """Read a response behind which the server hangs up."""
        status, headers = await self.response()
        body = await self.reader.read()
        assert headers["connection"] == "close"
        assert len(body) == int(headers["content-length"])
        return status, headers, body

    async def upgrade(self) -> Headers:
        """Read the response that opens a WebSocket."""
        status, headers = await self.response()
        assert status == 101
        return headers

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame of the server: final, not masked."""
        first, length = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
        return first & 0x0F, await self.reader.readexactly(length)

    async def closed(self) -> int:
        """Read up to the close frame; return its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])

    async def hung_up(self) -> None:
        """Wait until the server has gone, whatever it says before."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(LIMIT):
                pass

    def hang_up(self) -> None:
        """Go without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Server:
    """uvicorn's protocols with ours behind one port; the state they share is at hand."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.state = ServerState()
        self.config = uvicorn.Config(
            app,
            http=HTTPProtocol,
            ws=Handshake,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self.port = 0
        self.protocols: weakref.WeakSet[HTTPProtocol] = weakref.WeakSet()
        self._clients = contextlib.AsyncExitStack()
        self._tls: ssl.SSLContext | None = None

    def make_protocol(self) -> HTTPProtocol:
        """Do as uvicorn's server does for each socket it accepts."""
        protocol = HTTPProtocol(self.config, self.state, {})
        self.protocols.add(protocol)
        return protocol

    async def connect(self, **options: Any) -> Client:  # noqa: ANN401 - those of the loop
        """Open a TCP or TLS connection."""
        if self._tls is not None:
            options |= {"ssl": self._tls, "server_hostname": "localhost"}
        streams = await asyncio.open_connection("127.0.0.1", self.port, **options)
        client = Client(*streams)
        self._clients.push_async_callback(client.close)
        return client

    async def ask(self, *pieces: bytes | str) -> Client:
        """Open a connection, and send this in one piece."""
        client = await self.connect()
        client.send(*pieces)
        return client

    async def open(self, *pieces: bytes | str, **options: Any) -> tuple[Client, Recorder]:  # noqa: ANN401
        """Open a WebSocket, and send this behind the request."""
        client = await self.connect(**options)
        client.send(request(), *pieces)
        await client.upgrade()
        return client, await self.app.connections.get()


@contextlib.asynccontextmanager
async def serving(tls: tuple[Path, Path] | None = None) -> AsyncIterator[Server]:
    """Serve on a port of its own."""
    running = Server(Application())
    running.config.load()
    context = None
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
        running._tls = ssl.create_default_context(cafile=tls[0])
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(running.make_protocol, "127.0.0.1", 0, ssl=context)
    running.port = listener.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        await running._clients.aclose()
        listener.close()
        await listener.wait_closed()


def request(
    path: str = "/socket",
    *extra: str,
    method: str = "GET",
    version: str = "1.1",
    without: Iterable[str] = (),
) -> str:
    """Return a WebSocket handshake."""
    lines = [
        HOST,
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    ]
    kept = [line for line in lines if line.split(":")[0] not in set(without)]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *kept, *extra, "", ""])


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """Return a client's frame."""
    first = (0x80 if fin else 0) | opcode
    if len(payload) < 126:
        return bytes((first, 0x80 | len(payload))) + MASK + payload
    return bytes((first, 0x80 | 126)) + len(payload).to_bytes(2) + MASK + payload


def refusals(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was logged of refusals by the server."""
    return [record for record in caplog.records if record.name == server.__name__]


@pytest.fixture(scope="module")
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


class TestHead:
    """The request's head is bounded in bytes, in headers and in time (W8, W30)."""

    @on_uvloop
    async def test_large_head_in_one_piece_is_refused(self) -> None:
        """431 (RFC 6585 section 5), although it is complete."""
        async with serving() as running:
            client = await running.ask(request("/socket", "Cookie: " + "x" * 16_384))

            assert (await client.refusal())[0] == 431
            assert running.app.scopes == []

    @on_uvloop
    async def test_large_head_of_an_ordinary_request_is_refused(self) -> None:
        """Also where no WebSocket is asked for."""
        async with serving() as running:
            client = await running.ask(f"GET / HTTP/1.1\r\n{HOST}\r\nA: {'x' * 16_384}\r\n\r\n")

            assert (await client.refusal())[0] == 431
            assert running.app.scopes == []

    @on_uvloop
    async def test_long_target_is_refused(self) -> None:
        """W30: the target is part of the head."""
        async with serving() as running:
            client = await running.ask(request("/" + "x" * 65_536))

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_large_head_in_pieces_is_refused_before_its_end(self) -> None:
        """Nobody has to wait for the empty line."""
        async with serving() as running:
            client = await running.ask(request().removesuffix("\r\n"))
            client.send("Cookie: ")
            for _ in range(20):
                client.send("x" * 1000)
                await asyncio.sleep(0)

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_head_below_the_bound_passes(self) -> None:
        """A browser with large cookies comes in."""
        async with serving() as running:
            client = await running.ask(request("/socket", "Cookie: " + "x" * 15_000))

            await client.upgrade()

    @on_uvloop
    async def test_more_than_a_hundred_headers_are_refused(self) -> None:
        """However short they are."""
        async with serving() as running:
            client = await running.ask(request("/socket", *["A: b"] * 96))

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_a_hundred_headers_pass(self) -> None:
        """The bound is the largest number allowed."""
        async with serving() as running:
            client = await running.ask(request("/socket", *["A: b"] * 95))

            await client.upgrade()

    @on_uvloop
    async def test_second_head_of_a_connection_is_bounded_too(self) -> None:
        """Keep-alive is no way round it."""
        async with serving() as running:
            client = await running.ask(f"GET /a HTTP/1.1\r\n{HOST}\r\n\r\n")
            assert (await client.response())[0] == 200
            await client.reader.readexactly(len("/a 0"))
            client.send(f"GET /b HTTP/1.1\r\n{HOST}\r\nA: ", "x" * 20_000)

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_trailers_are_bounded(self) -> None:
        """They are fields behind the body (RFC 9112 section 7.1.2), and kept in memory too."""
        async with serving() as running:
            client = await running.ask(
                f"POST /held HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n",
                "1\r\na\r\n0\r\n",
            )
            await running.app.running.wait()
            for _ in range(40):
                client.send("A: ", "x" * 1000, "\r\n")
                await asyncio.sleep(0.001)

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_trailers_do_not_become_headers(self) -> None:
        """RFC 9110 section 6.5.1: they must not be merged unless the field allows it."""
        async with serving() as running:
            client = await running.ask(
                f"POST /a HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
                "1\r\na\r\n0\r\nAuthorization: Bearer late\r\n\r\n"
            )

            assert (await client.response())[0] == 200
            names = [name for name, _ in running.app.headers_at_the_end]
            assert names == [b"host", b"transfer-encoding"]

    @on_uvloop
    async def test_garbage_is_a_bad_request(self) -> None:
        """400, and one answer only."""
        async with serving() as running:
            client = await running.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

            assert (await client.refusal())[0] == 400

    def test_silent_connection_is_closed_at_the_deadline(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who says nothing keeps a descriptor."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect()

                assert (await client.refusal())[0] == 408
                await client.close()
                await until(lambda: not running.state.connections)

        run()

    def test_dribbled_head_is_closed_at_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each byte is a sign of life, and no reason to wait any longer."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.03)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect()
                head = request("/socket", "A: " + "x" * 15_000).encode()
                sending = asyncio.create_task(client.send_slowly(head))

                assert (await client.refusal())[0] == 408
                sending.cancel()

        run()

    def test_slow_body_is_closed_at_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And the application is told."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask(
                    f"POST / HTTP/1.1\r\n{HOST}\r\nContent-Length: 9\r\n\r\na"
                )

                assert (await client.refusal())[0] == 408
                assert running.app.gone == [{"type": "http.disconnect"}]

        run()

    def test_slow_application_is_not_the_clients_fault(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The deadline is for what the client sends, and over with the last byte of it."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask(f"GET /held HTTP/1.1\r\n{HOST}\r\n\r\n")
                await asyncio.sleep(0.08)  # longer than the deadline, and than its resolution
                running.app.proceed.set()

                assert (await client.response())[0] == 200

        run()

    def test_refused_client_that_stays_is_hung_up_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """We read on for a while, so that it gets the answer, and then no more."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask("x\r\n\r\n")
                await until(lambda: not running.state.connections)
                client.send("more")

                assert (await client.refusal())[0] == 400

        run()

    def test_refused_client_that_does_not_read_is_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would otherwise keep what it was answered in memory."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect(limit=1024)
                client.send(f"GET /large HTTP/1.1\r\n{HOST}\r\n\r\n")
                await until(lambda: bool(running.app.scopes))
                client.send("x\r\n\r\n")

                await until(lambda: not running.state.connections)

        run()

    @on_uvloop
    async def test_peer_that_leaves_in_the_middle_leaves_nothing(self) -> None:
        """No deadline runs for it."""
        async with serving() as running:
            client = await running.ask("GET / HT")
            await until(lambda: len(running.state.connections) == 1)
            client.hang_up()
            await until(lambda: not running.state.connections)

            assert len(running.state.__dict__["drawbridge_requests"]) == 0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class TestOrdinaryRequests:
    """What is not a WebSocket is served as uvicorn serves it."""

    @on_uvloop
    async def test_connection_is_kept_alive(self) -> None:
        """RFC 9112 section 9.3; heads are counted anew each time."""
        async with serving() as running:
            client = await running.connect()
            for number in range(5):
                client.send(f"GET /{number} HTTP/1.1\r\n{HOST}\r\nA: {'x' * 6000}\r\n\r\n")
                status, headers = await client.response()
                body = await client.reader.readexactly(int(headers["content-length"]))

                assert (status, body) == (200, f"/{number} 0".encode())

    @on_uvloop
    async def test_pipelined_requests_are_answered_in_order(self) -> None:
        """RFC 9112 section 9.3.2."""
        async with serving() as running:
            client = await running.ask(
                *(f"GET /{number} HTTP/1.1\r\n{HOST}\r\n\r\n" for number in range(4))
            )

            for number in range(4):
                assert (await client.response())[0] == 200
                assert await client.reader.readexactly(4) == f"/{number} 0".encode()

    @pytest.mark.parametrize("chunked", [False, True])
    @on_uvloop
    async def test_body_may_be_larger_than_a_head(self, chunked: bool) -> None:
        """The bound is for heads."""
        size = 300_000
        async with serving() as running:
            client = await running.ask(f"POST /a HTTP/1.1\r\n{HOST}\r\n")
            if chunked:
                client.send("Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(size // 1000):
                    client.send("3e8\r\n", "x" * 1000, "\r\n")
                    await asyncio.sleep(0)
                client.send("0\r\n\r\n")
            else:
                client.send(f"Content-Length: {size}\r\n\r\n", "x" * size)

            assert (await client.response())[0] == 200
            assert await client.reader.readexactly(9) == f"/a {size}".encode()

    @on_uvloop
    async def test_foreign_upgrade_is_an_ordinary_request(self) -> None:
        """W7: a server may ignore an Upgrade it does not know (RFC 9110 section 7.8)."""
        async with serving() as running:
            client = await running.ask(
                f"GET /a HTTP/1.1\r\n{HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            )

            assert (await client.response())[0] == 200


class TestRequest:
    """RFC 6455 section 4.2.1: what a handshake must be."""

    @on_uvloop
    async def test_good_handshake_is_accepted(self) -> None:
        """Section 4.2.2, with the key's answer of section 1.3."""
        async with serving() as running:
            client = await running.ask(request())
            headers = await client.upgrade()

        digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")  # noqa: S324
        assert headers == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": base64.b64encode(digest.digest()).decode(),
        }

    @on_uvloop
    async def test_chosen_subprotocol_is_named(self) -> None:
        """What was offered is the application's to choose from."""
        async with serving() as running:
            running.app.subprotocol = "b"
            client = await running.ask(
                request("/socket", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c")
            )

            assert (await client.upgrade())["sec-websocket-protocol"] == "b"
            assert running.app.scopes[0]["subprotocols"] == ["a", "b", "c"]

    @on_uvloop
    async def test_extensions_are_not_negotiated(self) -> None:
        """W29: an offer of compression is ignored, however odd."""
        offers = ["permessage-deflate; client_max_window_bits=99", "x-unknown; a=1"]
        async with serving() as running:
            client = await running.ask(
                request("/socket", *(f"Sec-WebSocket-Extensions: {offer}" for offer in offers))
            )

            assert "sec-websocket-extensions" not in await client.upgrade()

    @pytest.mark.parametrize("versions", [[], ["8"], ["14"], ["13", "13"], ["13, 8"]])
    @on_uvloop
    async def test_other_version_is_told_ours(self, versions: list[str]) -> None:
        """Section 4.2.2: 426 with Sec-WebSocket-Version."""
        lines = [f"Sec-WebSocket-Version: {version}" for version in versions]
        async with serving() as running:
            client = await running.ask(
                request("/socket", *lines, without=["Sec-WebSocket-Version"])
            )
            status, headers, _ = await client.refusal()

            assert status == 426
            assert headers["sec-websocket-version"] == "13"
            assert running.app.scopes == []

    @pytest.mark.parametrize(
        "keys",
        [
            [],
            [""],
            ["c2l4dGVlbg=="],
            [KEY + "AAAA"],
            [KEY.replace("=", "")],
            ["!" + KEY[1:]],
            ["\xff" + KEY[1:]],
            [KEY, KEY],
        ],
    )
    @on_uvloop
    async def test_key_must_be_sixteen_bytes_once(self, keys: list[str]) -> None:
        """Section 4.1: base64 of 16 bytes, and the header exactly once."""
        lines = [f"Sec-WebSocket-Key: {key}" for key in keys]
        async with serving() as running:
            client = await running.ask(request("/socket", *lines, without=["Sec-WebSocket-Key"]))

            assert (await client.refusal())[0] == 400
            assert running.app.scopes == []

    @pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
    @on_uvloop
    async def test_other_method_is_not_allowed(self, method: str) -> None:
        """Section 4.1: GET; RFC 9110 section 15.5.6 wants Allow."""
        async with serving() as running:
            client = await running.ask(request(method=method))
            status, headers, _ = await client.refusal()

            assert status == 405
            assert headers["allow"] == "GET"

    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(request(version="1.0"), id="HTTP/1.0"),
            pytest.param(request("/socket", "Content-Length: 3") + "abc", id="body"),
            pytest.param(
                request("/socket", "Transfer-Encoding: chunked") + "1\r\na\r\n0\r\n\r\n",
                id="chunked",
            ),
            pytest.param(
                request("/socket", "Content-Length: 3", "Transfer-Encoding: chunked"), id="both"
            ),
            pytest.param(request("/socket", "Host: other"), id="two hosts"),
            pytest.param(request(without=["Host"]), id="no host"),
            pytest.param(request("/s\xf6cket"), id="path not ASCII"),
            pytest.param(request("/socket?a=\xf6"), id="query not ASCII"),
            pytest.param(request("socket"), id="no slash"),
            pytest.param(request("ws:/:"), id="no URL"),
        ],
    )
    @on_uvloop
    async def test_what_is_no_handshake_is_a_bad_request(self, head: str) -> None:
        """W7, W30, W31; the application does not see it."""
        async with serving() as running:
            client = await running.ask(head)

            assert (await client.refusal())[0] == 400
            assert running.app.scopes == []

    @on_uvloop
    async def test_empty_body_may_be_announced(self) -> None:
        """Some clients do."""
        async with serving() as running:
            client = await running.ask(request("/socket", "Content-Length: 0"))

            await client.upgrade()

    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            ("/a%2e%2e/b?c=%20d", "/a../b", b"c=%20d"),
            ("//socket", "//socket", b""),
            ("/%2E%2e/socket", "/../socket", b""),
            ("/%ff", "/\ufffd", b""),
            ("http://gateway/a?b", "/a", b"b"),
            ("http://gateway", "/", b""),
            ("http://gateway?a", "/", b"a"),
        ],
    )
    @on_uvloop
    async def test_target_is_taken_apart(self, target: str, path: str, query: bytes) -> None:
        """The path is decoded once and otherwise left alone; RFC 9112 section 3.2.2."""
        async with serving() as running:
            client = await running.ask(request(target))
            await client.refusal()

            (scope,) = running.app.scopes
            assert scope["type"] == "websocket"
            assert scope["path"] == path
            assert scope["query_string"] == query

    @on_uvloop
    async def test_scope_says_how_the_request_came(self) -> None:
        """The ASGI specification, WebSocket connection scope."""
        async with serving() as running:
            await (await running.ask(request("/socket?a", "X-Header: Value"))).upgrade()

            (scope,) = running.app.scopes
            assert scope["scheme"] == "ws"
            assert scope["raw_path"] == b"/socket"
            assert scope["client"][0] == "127.0.0.1"
            assert scope["server"] == ("127.0.0.1", running.port)
            assert scope["headers"][-1] == (b"x-header", b"Value")

    def test_scheme_is_wss_with_tls(self, certificate: tuple[Path, Path]) -> None:
        """The ASGI specification again."""

        @on_uvloop
        async def run() -> None:
            async with serving(certificate) as running:
                await running.open()

                assert running.app.scopes[0]["scheme"] == "wss"

        run()

    @on_uvloop
    async def test_handshake_behind_an_answered_request_is_accepted(self) -> None:
        """A kept-alive connection may become a WebSocket."""
        async with serving() as running:
            client = await running.ask(f"GET /a HTTP/1.1\r\n{HOST}\r\n\r\n")
            await client.response()
            await client.reader.readexactly(len("/a 0"))
            client.send(request())

            await client.upgrade()

    @on_uvloop
    async def test_handshake_behind_an_unanswered_request_is_refused(self) -> None:
        """Its 101 would overtake the answer (RFC 9112 section 9.3.2)."""
        async with serving() as running:
            client = await running.ask(f"GET /held HTTP/1.1\r\n{HOST}\r\n\r\n", request())

            assert (await client.refusal())[0] == 400
            assert len(running.app.scopes) == 1

    @on_uvloop
    async def test_request_behind_the_handshake_is_frames(self) -> None:
        """W31: nothing behind a 101 is HTTP any more."""
        async with serving() as running:
            client, recorder = await running.open(request("/other"))

            assert await client.closed() == 1002
            assert await recorder.until("failed") == [DisconnectCode.PROTOCOL_ERROR]
            assert len(running.app.scopes) == 1


class TestDenial:
    """What becomes of a handshake that the application does not take over."""

    @on_uvloop
    async def test_response_of_the_application_is_passed_on(self) -> None:
        """Status, headers and body; the extension ``websocket.http.response``."""
        async with serving() as running:
            client = await running.ask(request("/denied"))
            status, headers, body = await client.refusal()

        assert (status, body) == (429, b"not now")
        assert headers["retry-after"] == "7"
        assert headers["content-type"] == "text/odd"

    @on_uvloop
    async def test_status_need_not_be_a_registered_one(self) -> None:
        """RFC 9110 section 15: clients know the class of an unknown status."""
        async with serving() as running:
            client = await running.ask(request("/odd-status"))

            assert (await client.refusal())[0] == 499

    @on_uvloop
    async def test_close_before_accept_is_403(self) -> None:
        """The ASGI specification, ``websocket.close``."""
        async with serving() as running:
            client = await running.ask(request("/closes"))

            assert (await client.refusal())[0] == 403

    @pytest.mark.parametrize("path", ["/raises", "/accepts"])
    def test_failing_application_is_500_without_a_word(
        self, path: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What went wrong is for the log; only sockets that are taken over are served."""

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask(request(path))

                status, _, body = await client.refusal()
                assert (status, body) == (500, b"Internal Server Error")

        run()

        (record,) = refusals(caplog)
        assert record.levelname == "ERROR"
        assert record.exc_info

    @on_uvloop
    async def test_application_that_does_nothing_is_500(self) -> None:
        """A client never waits for an answer that will not come."""
        async with serving() as running:
            client = await running.ask(request("/nothing"))

            assert (await client.refusal())[0] == 500

    def test_refusal_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """One line, without anything of the request."""
        caplog.set_level(logging.INFO)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                head = request(
                    "/socket?access_token=secret",
                    "Authorization: Bearer secret",
                    without=["Sec-WebSocket-Key"],
                )
                await (await running.ask(head)).refusal()

        run()

        (record,) = refusals(caplog)
        assert record.__dict__["status"] == 400
        assert "secret" not in str(record.__dict__)

    @on_uvloop
    async def test_client_that_leaves_early_is_not_taken_over(self) -> None:
        """The application learns it from the answer of ``take_over``."""
        async with serving() as running:
            client = await running.ask(request("/held"))
            await running.app.running.wait()
            client.hang_up()
            await until(lambda: not any(running.state.connections))
            await asyncio.sleep(0.01)
            running.app.proceed.set()
            await until(lambda: bool(running.app.taken))

            assert running.app.taken == [False]
            assert running.app.connections.empty()

    @on_uvloop
    async def test_application_is_told_of_a_client_that_left(self) -> None:
        """The ASGI specification, ``websocket.disconnect``: 1006 without a close frame."""
        async with serving() as running:
            client = await running.ask(request("/waits"))
            await running.app.running.wait()
            client.hang_up()
            await until(lambda: bool(running.app.gone))

            assert running.app.gone == [{"type": "websocket.disconnect", "code": 1006}]


class TestEarlyData:
    """Bytes behind the head, which uvicorn drops."""

    @on_uvloop
    async def test_frames_in_the_segment_of_the_head_are_delivered(self) -> None:
        """A client that knows the answer need not wait for it."""
        async with serving() as running:
            _, recorder = await running.open(masked(TEXT, b"one"), masked(TEXT, b"two"))

            assert await recorder.until("text", 2) == [b"one", b"two"]

    @on_uvloop
    async def test_frames_during_the_handshake_are_delivered_in_order(self) -> None:
        """Also one that is cut in the middle."""
        async with serving() as running:
            last = masked(TEXT, b"three")
            client = await running.ask(request("/held"), masked(TEXT, b"one"))
            await running.app.running.wait()
            client.send(masked(TEXT, b"two"), last[:5])
            await asyncio.sleep(0.01)
            running.app.proceed.set()
            await client.upgrade()
            client.send(last[5:])
            recorder = await running.app.connections.get()

            assert await recorder.until("text", 3) == [b"one", b"two", b"three"]

    @on_uvloop
    async def test_fault_in_the_segment_of_the_head_is_answered(self) -> None:
        """After the 101."""
        async with serving() as running:
            client, recorder = await running.open(frame(TEXT, b"not masked"))

            assert await client.closed() == 1002
            assert recorder.all("failed") == [DisconnectCode.PROTOCOL_ERROR]

    @on_uvloop
    async def test_too_much_before_the_answer_is_refused(self) -> None:
        """Who is not known yet gets no memory."""
        async with serving() as running:
            client = await running.ask(request("/held"))
            await running.app.running.wait()
            client.send("x" * 17_000)

            assert (await client.refusal())[0] == 400
            running.app.proceed.set()
            await until(lambda: not running.state.tasks)
            assert running.app.connections.empty()


class TestMessages:
    """RFC 6455 sections 5 and 8, on the wire."""

    @on_uvloop
    async def test_messages_go_both_ways(self) -> None:
        """Text and binary, each as it is."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(TEXT, "größer".encode()), masked(BINARY, b"\xff\x00"))
            await recorder.until("binary")
            recorder.transport.write(frame(TEXT, b"a") + frame(BINARY, b"b" * 70_000))

            assert recorder.events == [("text", "größer".encode()), ("binary", b"\xff\x00")]
            assert await client.frame() == (TEXT, b"a")
            assert await client.frame() == (BINARY, b"b" * 70_000)

    @on_uvloop
    async def test_ping_is_answered_with_its_payload(self) -> None:
        """Section 5.5.3; and it is a sign of life."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(PING, b"payload"))

            assert await client.frame() == (PONG, b"payload")
            assert recorder.events == [("seen", None)]

    @on_uvloop
    async def test_unasked_pong_is_a_sign_of_life(self) -> None:
        """Section 5.5.3: no answer is expected."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(PONG), masked(PING, b"after"))

            assert await client.frame() == (PONG, b"after")
            assert len(recorder.all("seen")) == 2

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            pytest.param([frame(TEXT, b"a")], 1002, id="unmasked"),
            pytest.param([b"\xc1\x80" + MASK], 1002, id="RSV1"),
            pytest.param([b"\x83\x80" + MASK], 1002, id="opcode 3"),
            pytest.param([b"\x89\xfe\x00\x7e" + MASK], 1002, id="long ping"),
            pytest.param([masked(PING, fin=False)], 1002, id="fragmented ping"),
            pytest.param([masked(CONTINUATION, b"a")], 1002, id="continuation first"),
            pytest.param([masked(TEXT, b"a", fin=False), masked(TEXT)], 1002, id="text inside"),
            pytest.param([masked(CLOSE, b"\x03")], 1002, id="close of one byte"),
            *(
                pytest.param([masked(CLOSE, code.to_bytes(2))], 1002, id=f"close {code}")
                for code in (999, 1005, 65_535)
            ),
            pytest.param([masked(CLOSE, b"\x03\xe8\xff")], 1007, id="close reason"),
            pytest.param([masked(TEXT, b"\xff")], 1007, id="text"),
            pytest.param(
                [masked(TEXT, "\ud800".encode("utf-8", "surrogatepass"))], 1007, id="lone"
            ),
            pytest.param(
                [masked(TEXT, b"\xc3", fin=False), masked(CONTINUATION, b"x")], 1007, id="split"
            ),
            pytest.param([b"\x81\xff" + (2**40).to_bytes(8)], 1009, id="2^40"),
            pytest.param([b"\x81\xff" + (2**63).to_bytes(8)], 1009, id="2^63"),
            pytest.param(
                [masked(TEXT, b"x" * 60_000, fin=False), masked(CONTINUATION, b"x" * 5_537)],
                1009,
                id="sum of fragments",
            ),
        ],
    )
    @on_uvloop
    async def test_fault_is_told_by_its_code(self, frames: list[bytes], code: int) -> None:
        """W9, W10, W11; once, and nothing behind the fault is read."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(*frames, masked(TEXT, b"behind"))

            assert await client.closed() == code
            client.hang_up()
            await recorder.until("lost")
            assert recorder.all("failed") == [code]
            assert recorder.all("text") == []
            assert recorder.events[-1][0] == "lost"

    @on_uvloop
    async def test_character_split_over_fragments_is_accepted(self) -> None:
        """Section 5.6: the whole message is UTF-8."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(TEXT, b"\xc3", fin=False), masked(CONTINUATION, b"\xb6"))

            assert await recorder.until("text") == ["ö".encode()]

    @on_uvloop
    async def test_reading_can_be_paused(self) -> None:
        """What the connection cannot take stays in the kernel, until it can."""
        async with serving() as running:
            client, recorder = await running.open()
            recorder.transport.pause_reading()
            recorder.transport.pause_reading()
            client.send(masked(TEXT, b"a"))
            await asyncio.sleep(0.02)
            assert recorder.events == []
            recorder.transport.resume_reading()
            recorder.transport.resume_reading()

            assert await recorder.until("text") == [b"a"]

    @on_uvloop
    async def test_reference_client_is_served(self) -> None:
        """An independent implementation finds nothing wrong."""
        async with serving() as running:
            url = f"ws://127.0.0.1:{running.port}/socket"
            async with reference_connect(url) as client:
                recorder = await running.app.connections.get()
                await client.send("größer")
                await client.send([b"in ", b"pieces"])
                await asyncio.wait_for(await client.ping(), 5)
                recorder.transport.write(frame(TEXT, b"a") * 3)
                received = [await client.recv() for _ in range(3)]
                recorder.transport.close(3001, "shutdown")
                with pytest.raises(websockets.ConnectionClosedError) as caught:
                    await client.recv()

            assert received == ["a"] * 3
            assert caught.value.rcvd == websockets.Close(3001, "shutdown")
            assert recorder.events[0] == ("text", "größer".encode())
            assert ("binary", b"in pieces") in recorder.events
            assert await recorder.until("lost") == [3001]


class TestClosing:
    """RFC 6455 sections 5.5.1 and 7."""

    @pytest.mark.parametrize(
        ("payload", "told", "answered"),
        [
            (b"\x03\xe8bye", 1000, b"\x03\xe8"),
            (b"\x0f\xa0", 4000, b"\x0f\xa0"),
            (b"", 1005, b"\x03\xe8"),
        ],
    )
    @on_uvloop
    async def test_close_of_the_client_is_answered(
        self, payload: bytes, told: int, answered: bytes
    ) -> None:
        """With its own code; then the server hangs up first (section 7.1.1)."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(CLOSE, payload), masked(TEXT, b"behind"), masked(CLOSE, payload))

            assert await client.frame() == (CLOSE, answered)
            assert await client.reader.read() == b""
            await until(lambda: len(server.closing_sockets(running.state)) == 0)
            assert recorder.events == [("lost", told)]

    @on_uvloop
    async def test_close_of_the_server_is_flushed_and_waited_for(self) -> None:
        """What was written comes first; what the client says meanwhile does not count."""
        async with serving() as running:
            client, recorder = await running.open()
            recorder.transport.write(frame(TEXT, b"last"))
            recorder.transport.close(3001, "shutdown")
            recorder.transport.close(3005, "ignored")
            client.send(masked(TEXT, b"late"), masked(PING))

            assert await client.frame() == (TEXT, b"last")
            assert await client.frame() == (CLOSE, b"\x0b\xb9shutdown")
            client.send(masked(CLOSE, b"\x0b\xb9"))
            assert await client.reader.read() == b""
            await recorder.until("lost")
            assert recorder.events == [("lost", 3001)]

    @on_uvloop
    async def test_vanished_client_is_1006(self) -> None:
        """Section 7.1.5."""
        async with serving() as running:
            client, recorder = await running.open()
            client.hang_up()

            assert await recorder.until("lost") == [1006]

    @on_uvloop
    async def test_half_closed_client_is_gone(self) -> None:
        """A WebSocket does not go on in one direction."""
        async with serving() as running:
            client, recorder = await running.open()
            client._writer.write_eof()

            assert await recorder.until("lost") == [1006]
            assert await client.reader.read() == b""

    @on_uvloop
    async def test_abort_cuts_at_once(self) -> None:
        """No close frame: the peer does not read anyway."""
        async with serving() as running:
            client, recorder = await running.open()
            recorder.transport.abort()
            await client.hung_up()

            assert await recorder.until("lost") == [1006]

    def test_client_that_never_answers_a_close_is_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Section 7.1.1 lets a server hang up; the deadline is ours."""
        monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client, recorder = await running.open()
                recorder.transport.close(3001, "shutdown")
                closing = server.closing_sockets(running.state)
                assert len(closing) == 1
                await closing.none()

                assert await recorder.until("lost") == [1006]
                assert await client.closed() == 3001

        run()

    def test_paused_client_that_is_closed_is_read_again(self) -> None:
        """Else its close frame would never be seen."""

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client, recorder = await running.open()
                recorder.transport.pause_reading()
                recorder.transport.close(3001, "shutdown")
                client.send(masked(CLOSE, b"\x0b\xb9"))

                assert await recorder.until("lost") == [3001]

        run()

    def test_code_arrives_although_the_client_goes_on_sending(
        self, either: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Closing with unread data resets the connection, and loses the code (RFC 9293 3.10.4)."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.2)
        lingering = asyncio.Event()

        @on_uvloop
        async def run() -> None:
            async with serving(either) as running:
                client, recorder = await running.open()

                async def send_on() -> None:
                    with contextlib.suppress(ConnectionError):
                        while True:
                            client.send(masked(BINARY, b"x" * 60_000))
                            await client._writer.drain()
                            lingering.set()

                client.send(frame(TEXT, b"not masked"))
                sending = asyncio.create_task(send_on())
                await recorder.until("failed")
                lingering.clear()
                await lingering.wait()

                assert await client.closed() == 1002
                await client.hung_up()
                sending.cancel()
                assert len(await recorder.until("lost")) == 1
                assert recorder.all("binary") == []

        run()

    def test_client_that_broke_the_framing_is_hung_up_on(
        self, either: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lingering is bounded, and leaves no deadline behind."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving(either) as running:
                client, recorder = await running.open()
                client.send(frame(TEXT, b"not masked"))

                assert await client.closed() == 1002
                assert await client.reader.read() == b""
                await client.close()
                assert await recorder.until("lost") == [1006]
                assert len(server.closing_sockets(running.state)) == 0
                assert len(running.state.__dict__["drawbridge_lingering"]) == 0

        run()


def fill(recorder: Recorder) -> int:
    """Write until the peer's buffers are full, and more; return how much."""
    size = 0
    while not recorder.all("stalled"):
        recorder.transport.write(frame(BINARY, b"x" * 100_000))
        size += 100_000
    return size


class TestSlowReaders:
    """A peer that does not read costs a bounded number of bytes and seconds."""

    @on_uvloop
    async def test_stall_and_its_end_are_told(self) -> None:
        """Each once; nothing is lost on the way."""
        async with serving() as running:
            client, recorder = await running.open(limit=1024)
            size = fill(recorder)
            assert recorder.transport.buffered() > 0

            received = 0
            while received < size:
                received += len((await client.frame())[1])
            await recorder.until("drained")

            assert recorder.events == [("stalled", None), ("drained", None)]
            assert recorder.transport.buffered() == 0

    @on_uvloop
    async def test_pings_are_not_answered_while_nobody_reads(self) -> None:
        """RFC 6455 section 5.5.3: only the last has to be; else a flood of them fills memory."""
        async with serving() as running:
            client, recorder = await running.open(limit=1024)
            size = fill(recorder)
            before = recorder.transport.buffered()
            client.send(*[masked(PING, b"x" * 125)] * 1000)
            await recorder.until("seen", 1000)
            assert recorder.transport.buffered() <= before

            while size > 0:
                size -= len((await client.frame())[1])
            await recorder.until("drained")
            client.send(masked(PING, b"last"))
            assert await client.frame() == (PONG, b"last")

    @on_uvloop
    async def test_abort_frees_what_was_not_taken(self) -> None:
        """``close`` would wait for a flush that never comes."""
        async with serving() as running:
            _, recorder = await running.open(limit=1024)
            fill(recorder)
            recorder.transport.abort()

            assert await recorder.until("lost") == [1006]
            assert recorder.transport.buffered() == 0

    def test_closed_peer_that_does_not_read_is_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also one that sent a close frame itself, and does not take the answer."""
        monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client, recorder = await running.open(limit=1024)
                fill(recorder)
                client.send(masked(CLOSE, b"\x03\xe8"))
                await recorder.until("lost")
                await server.closing_sockets(running.state).none()

                await until(lambda: recorder.transport.buffered() == 0)
                assert recorder.all("lost") == [1000]

        run()


class TestMemory:
    """Nothing of the request survives in an open connection (design: 1.9 KiB an idle one)."""

    @on_uvloop
    async def test_handshake_dies_without_the_garbage_collector(self) -> None:
        """A storm of connections would otherwise leave a storm of garbage."""
        async with serving() as running:
            handshakes: weakref.WeakSet[Handshake] = weakref.WeakSet()
            gc.collect()
            gc.disable()
            try:
                client, recorder = await running.open()
                handshakes.update(
                    found for found in gc.get_objects() if isinstance(found, Handshake)
                )
                running.app.scopes.clear()
                await until(lambda: not running.state.tasks)
                await asyncio.sleep(0)
                left = len(handshakes), len(running.protocols)
            finally:
                gc.enable()

            assert left == (0, 0)
            client.send(masked(TEXT, b"a"))
            assert await recorder.until("text") == [b"a"]

    @on_uvloop
    async def test_socket_has_no_dictionary(self) -> None:
        """Slots all the way up."""
        async with serving() as running:
            _, recorder = await running.open()

            assert isinstance(recorder.transport, Socket)
            assert not hasattr(recorder.transport, "__dict__")
            assert not hasattr(recorder.transport, "__weakref__")

    @on_uvloop
    async def test_closed_connection_dies_without_the_garbage_collector(self) -> None:
        """Socket and connection refer to each other, until it is lost."""
        async with serving() as running:
            client, recorder = await running.open()
            connection = weakref.ref(recorder)
            gc.collect()
            gc.disable()
            try:
                client.hang_up()
                await recorder.until("lost")
                del recorder
                await asyncio.sleep(0.01)
                left = connection()
            finally:
                gc.enable()

            assert left is None

    @on_uvloop
    async def test_refused_client_leaves_nothing(self) -> None:
        """Neither a task nor a deadline nor a protocol."""
        async with serving() as running:
            for head in (
                request("/denied"),
                request("/raises"),
                request(method="POST"),
                "x\r\n\r\n",
            ):
                client = await running.ask(head)
                await client.refusal()
                await client.close()
            running.app.scopes.clear()
            await until(lambda: not running.state.connections)
            await until(lambda: not running.state.tasks)
            gc.collect()

            assert len(running.protocols) == 0
            assert len(running.state.__dict__["drawbridge_requests"]) == 0
            assert len(running.state.__dict__["drawbridge_lingering"]) == 0


class Timed(Expiring):
    """Notes when its time was over."""

    __slots__ = ("_loop", "expired_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.expired_at: float | None = None

    @override
    def expired(self) -> None:
        """See Expiring."""
        self.expired_at = self._loop.time()


class TestDeadlines:
    """One timer for all; who is stopped is forgotten."""

    @on_uvloop
    async def test_entries_expire_in_order_and_not_early(self) -> None:
        """Each after its own time."""
        loop = asyncio.get_running_loop()
        deadlines, entries = Deadlines(loop, 0.02), [Timed(loop) for _ in range(3)]
        started = []
        for entry in entries:
            started.append(loop.time())
            deadlines.start(entry)
            await asyncio.sleep(0.005)
        await deadlines.none()

        for entry, start in zip(entries, started, strict=True):
            assert entry.expired_at is not None
            assert entry.expired_at - start >= 0.019
        assert len(deadlines) == 0

    @on_uvloop
    async def test_stopped_entry_does_not_expire(self) -> None:
        """Also if it is stopped twice, or was never started."""
        loop = asyncio.get_running_loop()
        deadlines, stopped, other = Deadlines(loop, 0.01), Timed(loop), Timed(loop)
        deadlines.start(stopped)
        deadlines.start(other)
        deadlines.stop(stopped)
        deadlines.stop(stopped)
        await deadlines.none()

        assert stopped.expired_at is None
        assert other.expired_at is not None

    @on_uvloop
    async def test_entry_started_again_has_its_whole_time_again(self) -> None:
        """And is last in the order."""
        loop = asyncio.get_running_loop()
        deadlines, entry, other = Deadlines(loop, 0.02), Timed(loop), Timed(loop)
        deadlines.start(entry)
        deadlines.start(other)
        await asyncio.sleep(0.01)
        again = loop.time()
        deadlines.start(entry)
        await deadlines.none()

        assert entry.expired_at is not None
        assert entry.expired_at - again >= 0.019

    @on_uvloop
    async def test_several_may_wait_for_none(self) -> None:
        """Also if one of them is cancelled."""
        loop = asyncio.get_running_loop()
        deadlines, entry = Deadlines(loop, 60), Timed(loop)
        deadlines.start(entry)
        waiting = [asyncio.create_task(deadlines.none()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        deadlines.stop(entry)

        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [None, None]

    def test_base_says_nothing_of_what_happens(self) -> None:
        """Every entry has its own end."""
        with pytest.raises(NotImplementedError):
            Expiring().expired()
