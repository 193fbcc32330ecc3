"""``/connection/http_stream``: a connection whose messages are the body of a response."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.fallbacks.framing import LENGTHS, LINES
from ws_gateway.routes.door import Door, make_bearer
from ws_gateway.routes.streamed import StreamedConnection, chosen_codec, read_body

PATH = "/connection/http_stream"
METHODS = ("POST",)


def create_router(*, door: Door, emulation: Emulation, query_token: bool) -> APIRouter:
    """Make the route.

    Args:
        door: Lets clients in.
        emulation: Brings their commands.
        query_token: Accept ``?access_token=``.
    """
    router = APIRouter(include_in_schema=False)
    bearer = make_bearer(query_token=query_token, gate=door.gate)

    @router.post(PATH, dependencies=[Depends(bearer)])
    async def connect(request: Request) -> Response:
        """Open a connection by the commands in the body."""
        codec = chosen_codec(request)
        return StreamedConnection(
            request,
            await read_body(request, door.node.max_message_bytes),
            kind="http_stream",
            codec=codec,
            framing=LENGTHS if codec.binary else LINES,
            door=door,
            emulation=emulation,
        )

    return router
