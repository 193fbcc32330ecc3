"""The uvicorn protocol classes: a bounded request head, a handshake that leaves nothing behind.

``HTTPProtocol`` (uvicorn's ``http=``) reads requests, and refuses those whose head is too large or
too slow; uvicorn itself waits for ever. ``Handshake`` runs the ASGI application once for a
WebSocket request. If the application takes the socket over (see :data:`TAKE_OVER`), a
:class:`Socket` of a few slots replaces both: nothing of the request survives in an idle
connection, and messages go straight from ``data_received`` to the connection.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import logging
import re
import urllib.parse
from collections import deque
from collections.abc import Iterable
from typing import Any

import httptools
from typing_extensions import override
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from ws_gateway import extensions
from ws_gateway.answers import Run, start
from ws_gateway.deadlines import Deadlines, Expiring
from ws_gateway.frames import FrameParser
from ws_gateway.sockets import OpenConnection, Socket

logger = logging.getLogger(__name__)

TAKE_OVER = "drawbridge.take_over"
"""The ASGI scope extension ``take_over(open_connection, subprotocol, max_message_bytes, deflate)``.

A WebSocket route calls it instead of accepting. It answers 101, makes the connection by
``open_connection(transport)`` and returns True; from then on the route has nothing to do with
it. If the client has gone meanwhile, it does nothing and returns False.
"""

CUT = "drawbridge.cut"
"""The ASGI scope extension of plain requests: ``cut()`` ends the socket without any waiting."""

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
REQUEST_SECONDS = 10.0
"""For the head of a request, and again for its body."""
UNREAD_SECONDS = 10.0
"""For a client that has left so much unread that nothing more is written to it."""
MAX_PIPELINED = 16
"""Requests that may wait behind one that is not answered yet."""
_CLOSE_SECONDS = 5.0
_LINGER_SECONDS = 1.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY_BYTES = 16
_KEY, _VERSION, _SUBPROTOCOL = (
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
)
_UPGRADE = re.compile(rb"(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)", re.IGNORECASE)
_LENGTH, _ENCODING = b"content-length", b"transfer-encoding"
_READ = (_KEY, _VERSION, _SUBPROTOCOL, _LENGTH, _ENCODING)
_ABNORMAL = 1006


def closing_sockets(state: ServerState) -> Deadlines:
    """Return the sockets of a server that have sent a close frame and wait for the peer's."""
    return _deadlines(state, "drawbridge_closing", _CLOSE_SECONDS)


def _deadlines(state: ServerState, name: str, seconds: float) -> Deadlines:
    # uvicorn makes the protocol objects and gives them this state and nothing of ours; one per
    # server is what we need.
    found: Deadlines | None = state.__dict__.get(name)
    if found is None:
        found = Deadlines(asyncio.get_running_loop(), seconds)
        state.__dict__[name] = found
    return found


class HTTPProtocol(HttpToolsProtocol, Expiring):
    """uvicorn's HTTP protocol with a bound on a request's head and on the time it takes."""

    flow: FlowControl | None  # type: ignore[assignment]  # a handshake needs none

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # What uvicorn looks up each time is the same for all of a server: its loggers alone cost as
        # much as half of a handshake's HTTP.
        blank: dict[str, Any] | None = server_state.__dict__.get("drawbridge_blank")
        if blank is not None:
            self.__dict__.update(blank)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.pipeline = deque()
            return
        super().__init__(config, server_state, app_state, _loop)
        self._deadlines = _deadlines(server_state, "drawbridge_requests", REQUEST_SECONDS)
        self._unread = _deadlines(server_state, "drawbridge_unread", UNREAD_SECONDS)
        self._lingering = _deadlines(server_state, "drawbridge_lingering", _LINGER_SECONDS)
        self._closing = closing_sockets(server_state)
        self._overhead = 0  # bytes since the last piece of a body, or the end of a request
        self._refused = False
        self._upgrades = False
        self._running: RequestResponseCycle | None = None  # uvicorn keeps only the last that came
        server_state.__dict__["drawbridge_blank"] = {
            name: value
            for name, value in self.__dict__.items()
            if name not in {"parser", "pipeline"}
        }

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # uvicorn's, without the server's own address, which ASGI need not say, and is the address
        # of the proxy's side anyway; and without a socket object, which only asks for what the
        # event loop knows. Its flow control is for bodies, of which a handshake has none.
        self.connections.add(self)
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        self.scheme = "https" if is_ssl(transport) else "http"
        self._deadlines.start(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._deadlines.stop(self)
        self._unread.stop(self)
        self._lingering.stop(self)
        self.pipeline.clear()  # nobody is there to be answered
        self._tell_gone()
        super().connection_lost(exc)

    def _tell_gone(self) -> None:
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _control_flow(self) -> FlowControl:
        if self.flow is None:
            self.flow = FlowControl(self.transport)
        return self.flow

    @property
    def _write_paused(self) -> bool:
        return self.flow is not None and self.flow.write_paused

    @override
    def pause_writing(self) -> None:
        self._control_flow().pause_writing()
        self._unread.start(self)

    @override
    def resume_writing(self) -> None:
        self._unread.stop(self)
        self._control_flow().resume_writing()

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._overhead += len(data)
        rest: bytes | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(400, "Invalid HTTP request")
            return
        # Here, as what fails in a handshake does not fail because of the parser's word.
        if rest is None:
            if self._overhead > MAX_HEAD_BYTES:
                self._refuse(431, "Request head too large")
        elif self._upgrades and not self._refused:
            self._upgrade(rest)
        elif rest:
            self.data_received(rest)  # who is not granted an upgrade goes on in HTTP

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # uvicorn does this for whatever comes, and nothing would end a connection on which a blank
        # line came, or the body of a request that was answered without it.
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self.scope["extensions"] = {CUT: self.transport.abort}  # type: ignore[dict-item]  # as any server may
        self._deadlines.start(self)

    @override
    def on_headers_complete(self) -> None:
        self._overhead = 0
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()  # it began before the last answer was complete
        size, hosts = len(self.url), 0
        # Several lines of a list are one (RFC 9110 section 5.3).
        connection = upgrade = b""
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"connection":
                connection += b"," + value
            elif name == b"upgrade":
                upgrade = value
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse(431, "Request head too large")
            # The parser swallows this and reports its own error, which is then ignored.
            raise ValueError("head too large")
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            # RFC 9112 section 3.2. Two would be one for a proxy and the other for us.
            self._refuse(400, "One Host header is needed")
            raise ValueError("no host, or several")
        if len(self.pipeline) >= MAX_PIPELINED:
            # One read can hold thousands. A status would pass for the answer to the first of them.
            self._refused = True
            logger.info("pipeline cut", extra={"address": self.client and self.client[0]})
            self.transport.abort()
            raise ValueError("too many requests")
        self.headers = []  # a trailer is no header (RFC 9110 section 6.5.1)
        self._upgrades = (
            upgrade.lower() == b"websocket"
            and _UPGRADE.search(connection) is not None
            and self.parser.should_upgrade()
        )
        if self._upgrades:
            # As uvicorn does, which stops here too.
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = self.parser.get_http_version()
        else:
            self._deadlines.start(self)
            self._control_flow()
            super().on_headers_complete()

    @override
    def _should_upgrade(self) -> bool:
        return self._upgrades

    @override
    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._overhead = 0
        self._deadlines.stop(self)
        if not self._upgrades:
            super().on_message_complete()

    @override
    def expired(self) -> None:
        if self._write_paused or self.transport.is_closing():
            self.transport.abort()  # it does not read, so that close() would wait for ever
        elif not self._refused:
            self._refuse(408, "Request took too long")
        else:
            self._lingering.start(self)
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        self._refused = True
        self._deadlines.stop(self)
        if self.transport.is_closing():
            return
        logger.info(
            "request refused", extra={"status": status, "address": self.client and self.client[0]}
        )
        running = self._running
        if running is None or running.response_complete or not running.response_started:
            self.transport.write(_response(status, text))
        self._tell_gone()  # what the application has to say comes too late
        # Closing with unread data would reset the connection, and lose the answer.
        self._lingering.start(self)
        self._control_flow().resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _upgrade(self, rest: bytes) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        try:
            scope = self._websocket_scope()
        except (UnicodeDecodeError, httptools.HttpParserInvalidURLError):
            self._refuse(400, "Invalid request target")
            return
        if cycle is not None and not cycle.response_complete:
            self._refuse(400, "Upgrade behind a request that is not answered")
            return
        if self._write_paused:
            # The event loop says so once: the next protocol would never hear that nobody reads.
            self._refused = True
            self.transport.abort()
            return
        self.connections.discard(self)
        self.parser = None  # type: ignore[assignment]  # they refer to each other
        handshake = Handshake(self.config, self.server_state, self.app_state)
        self.transport.set_protocol(handshake)
        handshake.begin(
            self.transport, scope, rest, closing=self._closing, lingering=self._lingering
        )

    def _websocket_scope(self) -> dict[str, Any]:
        # uvicorn stops filling the scope in when it sees an upgrade.
        parsed = httptools.parse_url(self.url)
        raw_path = parsed.path or b"/"  # "http://host" is a target too (RFC 9112 section 3.2.2)
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        return dict(self.scope) | {
            "type": "websocket",
            "scheme": "wss" if self.scheme == "https" else "ws",
            "path": self.root_path + path,
            "raw_path": self.root_path.encode() + raw_path,
            "query_string": parsed.query or b"",
        }


def _response(status: int, body: str | bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    given = list(headers)
    names = {name.lower() for name, _ in given}
    if b"content-type" not in names:
        given.append((b"content-type", b"text/plain; charset=utf-8"))
    if b"content-length" not in names:
        given.append((b"content-length", str(len(content)).encode()))
    lines = [name + b": " + value for name, value in given if name.lower() != b"connection"]
    start = STATUS_LINE[status].removesuffix(b"\r\n")
    return b"\r\n".join([start, *lines, b"connection: close", b"", content])


class Handshake(asyncio.Protocol):
    """One WebSocket request: runs the application, which denies it or takes it over.

    Also uvicorn's ``ws=``, so that its configuration knows that WebSockets are served.
    """

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        del app_state  # it is in the scope
        self._config = config
        self._state = server_state
        self._early: bytearray = bytearray()
        self._transport: asyncio.Transport | None = None
        self._deadlines: tuple[Deadlines, Deadlines]
        self._scope: dict[str, Any] = {}
        self._running: Run | None = None
        self._gone = False
        self._waits: asyncio.Future[None] | None = None
        self._key = b""
        self._asked = False
        self._denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._body = bytearray()
        self._answered = False

    def begin(
        self,
        transport: asyncio.Transport,
        scope: dict[str, Any],
        rest: bytes,
        *,
        closing: Deadlines,
        lingering: Deadlines,
    ) -> None:
        """Check the request against RFC 6455 section 4.2.1 and run the application.

        Args:
            transport: The socket.
            scope: The ASGI scope of the request.
            rest: What came behind its head.
            closing: See Socket.
            lingering: See Socket.
        """
        self._transport = transport
        self._deadlines = closing, lingering
        self._early += rest
        self._scope = scope
        given: dict[bytes, list[bytes]] = {name: [] for name in _READ}
        for name, value in scope["headers"]:
            if name in given:
                given[name].append(value)
        fault = _fault(scope, given)
        if fault is not None:
            client = scope.get("client")
            logger.info(
                "handshake refused",
                extra={"status": fault[0], "reason": fault[1], "address": client and client[0]},
            )
            self._answer(_response(*fault))
            return
        self._key = given[_KEY][0].strip()
        scope["subprotocols"] = [
            name.strip()
            for value in given[_SUBPROTOCOL]
            for name in value.decode("latin-1").split(",")
        ]
        scope["extensions"] = {"websocket.http.response": {}, TAKE_OVER: self._take_over}
        # Most are through before they would have to wait, so that they need no task, nor the two
        # turns of the event loop that it takes to begin and to be forgotten.
        self._running = start(self._run(scope), asyncio.get_running_loop(), self._ran)
        if self._running is not None:
            self._state.tasks.add(self._running)  # type: ignore[arg-type]  # it can be cancelled

    def _ran(self) -> None:
        self._state.tasks.discard(self._running)
        self._running = None

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._config.loaded_app(scope, self._receive, self._send)
        except Exception:
            logger.exception("handshake failed", extra={"path": scope["path"]})
        if not self._answered:
            self._answer(_response(500, "Internal Server Error"))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        if not self._gone:
            self._waits = asyncio.get_running_loop().create_future()
            await self._waits
        return {"type": "websocket.disconnect", "code": _ABNORMAL}

    def _go(self) -> None:
        self._gone = True
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(None)

    async def _send(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.close":
                self._answer(_response(403, "Forbidden"))
            case "websocket.http.response.start":
                self._denial = message["status"], list(message.get("headers", ()))
            case "websocket.http.response.body" if self._denial is not None:
                self._body += message.get("body", b"")
                if not message.get("more_body"):
                    status, headers = self._denial
                    self._answer(_response(status, bytes(self._body), headers))
            case other:
                raise RuntimeError(f"{other!r}: only sockets that are taken over are served here")

    def _answer(self, response: bytes) -> None:
        self._answered = True
        self._go()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response)
            self._transport.close()

    def _take_over(
        self,
        open_connection: OpenConnection,
        subprotocol: str | None,
        max_message_bytes: int,
        deflate: bool = False,
    ) -> bool:
        transport = self._transport
        if self._answered or transport is None or transport.is_closing():
            self._answered = True
            return False
        self._answered = True
        closing, lingering = self._deadlines
        digest = hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest()
        accept = binascii.b2a_base64(digest, newline=False)
        head = [
            b"HTTP/1.1 101 Switching Protocols",
            b"upgrade: websocket",
            b"connection: Upgrade",
            b"sec-websocket-accept: " + accept,
        ]
        if subprotocol is not None:
            head.append(b"sec-websocket-protocol: " + subprotocol.encode())
        agreed = self._agree_to_deflate() if deflate else None
        if agreed is not None:
            head.append(b"sec-websocket-extensions: " + agreed.encode())
        transport.write(b"\r\n".join([*head, b"", b""]))
        socket = Socket(
            transport,
            FrameParser(max_message_bytes, inflates=agreed is not None),
            deflates=agreed is not None,
            closing=closing,
            lingering=lingering,
        )
        socket.open(open_connection)
        transport.set_protocol(socket)
        self._transport = None
        self._scope = {}  # it refers to us
        if self._early:
            socket.data_received(bytes(self._early))
        return True

    def _agree_to_deflate(self) -> str | None:
        return extensions.agree(
            value.decode("latin-1")
            for name, value in self._scope["headers"]
            if name == b"sec-websocket-extensions"
        )

    @override
    def data_received(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > MAX_HEAD_BYTES and self._transport is not None:
            self._answer(_response(400, "Data before the handshake's answer"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._go()


def _fault(
    scope: dict[str, Any], given: dict[bytes, list[bytes]]
) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
    """Find what makes a request no WebSocket handshake; ``given`` are the headers of `_READ`."""
    if scope["method"] != "GET":
        return 405, "Method Not Allowed", [(b"allow", b"GET")]
    if scope["http_version"] != "1.1":
        return 400, "WebSocket needs HTTP/1.1", []
    if given[_LENGTH] not in ([], [b"0"]) or given[_ENCODING]:
        return 400, "A handshake has no body", []
    if given[_VERSION] != [b"13"]:
        return 426, "WebSocket version 13 is needed", [(_VERSION, b"13")]
    keys = given[_KEY]
    try:
        valid = len(keys) == 1 and len(binascii.a2b_base64(keys[0], strict_mode=True)) == _KEY_BYTES
    except binascii.Error:
        valid = False
    return None if valid else (400, "Sec-WebSocket-Key is not valid", [])
