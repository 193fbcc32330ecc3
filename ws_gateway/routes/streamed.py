"""What the fallbacks' handshakes have in common: a body that is read, a response without end."""

from __future__ import annotations

from dataclasses import replace

from fastapi import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from ws_gateway.admission import retry_after
from ws_gateway.bearer import Admission, Source
from ws_gateway.exceptions import Disconnect
from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.fallbacks.framing import Framing
from ws_gateway.fallbacks.response_transport import ResponseTransport
from ws_gateway.handshake import page_of
from ws_gateway.protocol.codec import JSON, PROTOBUF, Codec
from ws_gateway.protocol.messages import ConnectRequest
from ws_gateway.routes.door import RETRY_SECONDS, Door

_KEPT_MESSAGES = 4  # of the largest kind, for a connection that does not keep up


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a request's body.

    Raises:
        HTTPException: 413 for one that is longer, 400 for one that broke off.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise HTTPException(413, "the body is too large")
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    return bytes(body)


def chosen_codec(request: Request) -> Codec:
    """Return the encoding that a request's body has."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return PROTOBUF if media_type == "application/octet-stream" else JSON


class StreamedConnection(Response):
    """The response that is a connection.

    Args:
        request: The handshake.
        message: Its first commands, the first of them ``connect``.
        kind: Of transport, for metrics.
        codec: The encoding of both directions.
        framing: Of the body.
        door: Lets clients in.
        emulation: Brings further commands.

    Raises:
        HTTPException: 400 for what is no such message.
    """

    def __init__(
        self,
        request: Request,
        message: bytes,
        *,
        kind: str,
        codec: Codec,
        framing: Framing,
        door: Door,
        emulation: Emulation,
    ) -> None:
        super().__init__()
        self._request = request
        self._message = message
        self._kind = kind
        self._codec = codec
        self._framing = framing
        self._door = door
        self._emulation = emulation
        check_first_message(message, codec)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._emulation.ready:
            raise HTTPException(503, "other gateways are out of reach", retry_after(RETRY_SECONDS))
        node, sessions = self._door.node, self._emulation.sessions
        admission = _with_usable_cookie(self._request)
        with self._door.enter(self._request, admission) as entry:
            transport = ResponseTransport(
                scope,
                receive,
                send,
                codec=self._codec,
                framing=self._framing,
                max_kept_bytes=_KEPT_MESSAGES * node.max_message_bytes,
            )
            await transport.begin()
            session = sessions.add(transport, kind=self._kind, origin=page_of(scope["headers"]))
            try:
                connection = entry.open(transport, self._codec, emulated=session)
                transport.receiver = connection
                connection.receive(self._message, binary=self._codec.binary)
                await transport.run(connection, transport.gone())
            finally:
                sessions.remove(session)
        if transport.was_cut:
            await transport.gone()  # else the server would call the response incomplete


def check_first_message(message: bytes, codec: Codec) -> None:
    """See that a handshake's message begins with ``connect``.

    A client that is bare, as one may be over a WebSocket, would never learn its session.

    Raises:
        HTTPException: 400.
    """
    try:
        if not codec.binary:
            message.decode()
        first = codec.decode(message)[0]
    except (Disconnect, UnicodeDecodeError):
        raise HTTPException(400, "not a message of commands") from None
    if not isinstance(first.request, ConnectRequest) or not first.id:
        raise HTTPException(400, "the first command must be connect, with an id")


def _with_usable_cookie(request: Request) -> Admission:
    """Leave a cookie out that came with nothing that says for which page.

    What a GET carries by itself counts where nothing is changed by it. A connection may publish.
    """
    admission: Admission = request.state.admission
    if admission.source is not Source.COOKIE or page_of(request.scope["headers"]) is not None:
        return admission
    return replace(admission, credentials=None, source=Source.NONE, bad_cookie=True)
