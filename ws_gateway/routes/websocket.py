"""``/connection/websocket``: from the handshake to a running connection."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Depends, WebSocket
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ws_gateway import asgi
from ws_gateway.bearer import Admission
from ws_gateway.protocol.codec import CODECS, JSON, PROTOBUF
from ws_gateway.routes.door import Door, make_bearer
from ws_gateway.server import TAKE_OVER
from ws_gateway.transport import Receiver, Transport

logger = logging.getLogger(__name__)

PATH = "/connection/websocket"


def add_routes(router: APIRouter, *, door: Door, query_token: bool, deflate: bool = False) -> None:
    """Add the route.

    Args:
        router: The application's own. One that is included matches a request twice.
        door: Lets clients in.
        query_token: Accept ``?access_token=``.
        deflate: Agree to compressed messages.
    """
    bearer = make_bearer(query_token=query_token, gate=door.gate)

    @router.websocket(PATH, dependencies=[Depends(bearer)])
    async def connect(websocket: WebSocket) -> None:
        """Authenticate the handshake, and give the socket to a connection."""
        admission: Admission = websocket.state.admission
        fallback = PROTOBUF if admission.protobuf else JSON
        codec = CODECS.get(admission.subprotocol or "", fallback)
        with door.enter(websocket, admission) as entry:

            def open_connection(transport: Transport) -> Receiver:
                return entry.open(transport, codec)

            take_over = websocket.scope.get("extensions", {}).get(TAKE_OVER)
            if take_over is not None:
                limit = door.node.max_message_bytes
                take_over(open_connection, admission.subprotocol, limit, deflate)
            else:
                await websocket.accept(subprotocol=admission.subprotocol)
                await asgi.run(websocket, open_connection)

    @router.get(PATH, include_in_schema=False)
    async def no_upgrade() -> PlainTextResponse:
        """Say what a plain request is missing (RFC 9110 section 15.5.22)."""
        return PlainTextResponse("This is a WebSocket endpoint", 426, {"Upgrade": "websocket"})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404 on every other path, also to a WebSocket, which would get a bare 403."""
    if scope["type"] == "websocket":
        client = scope.get("client")
        logger.info("handshake refused", extra={"status": 404, "address": client and client[0]})
    response = PlainTextResponse("Not Found", 404)
    await response(scope, receive, send)
