"""``/connection/websocket``: from the handshake to a running connection."""

from __future__ import annotations

import logging
import time
from functools import partial

from fastapi import APIRouter, Depends, HTTPException, WebSocket
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ws_gateway import asgi
from ws_gateway.admission import UnauthenticatedSockets
from ws_gateway.bearer import Admission, OAuth2WebSocketPasswordBearer, Source
from ws_gateway.connection import Connection
from ws_gateway.exceptions import HandshakeRejected
from ws_gateway.node import Node
from ws_gateway.protocol.codec import CODECS, JSON, PROTOBUF
from ws_gateway.server import TAKE_OVER
from ws_gateway.transport import Receiver, Transport

logger = logging.getLogger(__name__)

PATH = "/connection/websocket"

_RETRY = {"Retry-After": "5"}


_BEGAN = "drawbridge.began"


class HandshakeClock:
    """Notes when a WebSocket request came, before anything else looks at it.

    Args:
        app: The rest of the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on (ASGI)."""
        if scope["type"] == "websocket":
            scope[_BEGAN] = time.perf_counter()
        await self._app(scope, receive, send)


def elapsed(scope: Scope) -> float:
    """Return the seconds since this WebSocket request came; 0 if nobody has noted that."""
    now = time.perf_counter()
    return now - float(scope.get(_BEGAN, now))


def create_router(
    *,
    node: Node,
    unauthenticated: UnauthenticatedSockets,
    connection_limit: int,
    query_token: bool,
) -> APIRouter:
    """Make the route.

    Args:
        node: Where connections live.
        unauthenticated: Bounds the sockets that bring no credential.
        connection_limit: How many connections the node may have.
        query_token: Accept ``?access_token=``.
    """
    router = APIRouter()
    bearer = OAuth2WebSocketPasswordBearer(
        tokenUrl="/token",
        scopes={"connect": "open a connection"},
        auto_error=False,
        query_token=query_token,
    )

    @router.websocket(PATH, dependencies=[Depends(bearer)])
    async def connect(websocket: WebSocket) -> None:
        """Authenticate the handshake, and give the socket to a connection."""
        if not node.ready:
            raise HTTPException(503, "not ready, or going away", _RETRY)
        if node.connections >= connection_limit:
            raise HTTPException(503, "too many connections", _RETRY)
        admission: Admission = websocket.state.admission
        credentials = admission.credentials
        address = websocket.client.host if websocket.client else ""
        release = None
        if credentials is not None and not credentials.user and not node.guests:
            raise HTTPException(403, "guests are not allowed")
        if credentials is None:
            try:
                unauthenticated.admit(address)
            except HandshakeRejected as error:
                raise HTTPException(error.status, error.detail, error.headers) from error
            release = partial(unauthenticated.release, address)
        opened = False

        def open_connection(transport: Transport) -> Receiver:
            nonlocal opened
            opened = True
            node.metrics.handshakes.labels("ok").inc()
            node.metrics.handshake_seconds.observe(elapsed(websocket.scope))
            return Connection(
                transport,
                node=node,
                codec=CODECS.get(
                    admission.subprotocol or "", PROTOBUF if admission.protobuf else JSON
                ),
                credentials=credentials,
                token_allowed=admission.source in (Source.NONE, Source.COOKIE),
                guest_allowed=not admission.bad_cookie,
                frame_pings=admission.native_ping,
                authenticated=release,
                address=address,
            )

        try:
            take_over = websocket.scope.get("extensions", {}).get(TAKE_OVER)
            if take_over is not None:
                take_over(open_connection, admission.subprotocol, node.max_message_bytes)
            else:
                await websocket.accept(subprotocol=admission.subprotocol)
                await asgi.run(websocket, open_connection)
        finally:
            if release is not None and not opened:
                release()

    @router.get(PATH, include_in_schema=False)
    async def no_upgrade() -> PlainTextResponse:
        """Say what a plain request is missing (RFC 9110 section 15.5.22)."""
        return PlainTextResponse("This is a WebSocket endpoint", 426, {"Upgrade": "websocket"})

    return router


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404 on every other path, also to a WebSocket, which would get a bare 403."""
    if scope["type"] == "websocket":
        client = scope.get("client")
        logger.info("handshake refused", extra={"status": 404, "address": client and client[0]})
    response = PlainTextResponse("Not Found", 404)
    await response(scope, receive, send)
