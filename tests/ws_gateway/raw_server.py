"""A server on uvloop and clients that write bytes: what the socket tests are made of."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import logging
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, ParamSpec

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from ws_gateway import server
from ws_gateway.codes import DisconnectCode
from ws_gateway.frames import CLOSE
from ws_gateway.server import TAKE_OVER, Handshake, HTTPProtocol
from ws_gateway.transport import Receiver, Transport

KEY = base64.b64encode(b"sixteen bytes :)").decode()
LIMIT = 65_536
MASK = b"\x00\x00\x00\x00"  # allowed, and leaves the payload readable
HOST = "Host: gateway"
PATIENCE = 30.0
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

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """See Receiver."""
        del detail
        self._note("failed", code)
        assert isinstance(code, DisconnectCode)
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
        if scope["type"] == "http" and scope["path"] != "/waits":
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
        size, more = 0, scope["path"] != "/hasty"
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
async def serving(
    tls: tuple[Path, Path] | None = None, app: Application | None = None
) -> AsyncIterator[Server]:
    """Serve on a port of its own."""
    running = Server(app or Application())
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


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
