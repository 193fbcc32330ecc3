"""``/connection/sse``: a connection whose messages are server-sent events, in JSON."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.fallbacks.framing import EVENTS
from ws_gateway.handshake import query_values
from ws_gateway.protocol.codec import JSON
from ws_gateway.routes.door import Door, make_bearer
from ws_gateway.routes.streamed import StreamedConnection, check_first_message, read_body

PATH = "/connection/sse"
METHODS = ("GET", "POST")

_COMMAND = "cf_connect"


def create_router(*, door: Door, emulation: Emulation, query_token: bool) -> APIRouter:
    """Make the route.

    Args:
        door: Lets clients in.
        emulation: Brings their commands.
        query_token: Accept ``?access_token=``.
    """
    router = APIRouter(include_in_schema=False)
    bearer = make_bearer(query_token=query_token, gate=door.gate)

    @router.api_route(PATH, methods=list(METHODS), dependencies=[Depends(bearer)])
    async def connect(request: Request) -> Response:
        """Open a connection by the command in the URL, or by those in the body."""
        if request.method == "GET":
            message = _connect_of_url(request)
        else:
            message = await read_body(request, door.node.max_message_bytes)
        return StreamedConnection(
            request,
            message,
            kind="sse",
            codec=JSON,
            framing=EVENTS,
            door=door,
            emulation=emulation,
        )

    return router


def _connect_of_url(request: Request) -> bytes:
    """Read the one command that a URL may have: all that browsers' ``EventSource`` can send."""
    found = query_values(request.scope["query_string"], _COMMAND)
    if len(found) != 1:
        raise HTTPException(400, f"one {_COMMAND} is needed")
    message = found[0].encode()
    check_first_message(message, JSON)
    if len(JSON.decode(message)) > 1:
        # A GET must not do more than that: others may cause one (RFC 9110 section 9.2.1).
        raise HTTPException(400, "connect only, by a URL")
    return message
