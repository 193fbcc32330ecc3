"""``/emulation``: commands of connections that have only a response."""

from __future__ import annotations

from collections import Counter

from fastapi import APIRouter, HTTPException, Request, Response

from ws_gateway.exceptions import BrokerUnavailable, HandshakeRejected
from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.fallbacks.emulation_request import read_emulation
from ws_gateway.handshake import page_of, read_origin
from ws_gateway.routes.streamed import chosen_codec, read_body

PATH = "/emulation"
METHODS = ("POST",)

_RETRY = {"Retry-After": "1"}


def create_router(
    *, emulation: Emulation, origins: frozenset[str], max_bytes: int, outcomes: Counter[tuple[str]]
) -> APIRouter:
    """Make the route.

    Args:
        emulation: Knows where the connections are.
        origins: The pages that may send commands.
        max_bytes: Limit of a body.
        outcomes: Counts what became of requests.
    """
    router = APIRouter(include_in_schema=False)

    @router.post(PATH)
    async def emulate(request: Request) -> Response:
        """Take commands; what they are answered comes by the response."""
        try:
            status = await take(request)
        except HTTPException as error:
            outcomes[(_OUTCOMES[error.status_code],)] += 1
            raise
        outcomes[("ok",)] += 1
        return Response(status_code=status)

    async def take(request: Request) -> int:
        headers = request.scope["headers"]
        try:
            read_origin(headers, origins=origins)
        except HandshakeRejected as error:
            raise HTTPException(error.status, error.detail, error.headers) from error
        body = await read_body(request, max_bytes)
        try:
            read = read_emulation(body, binary=chosen_codec(request).binary)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        try:
            found = await emulation.deliver(read, page_of(headers))
        except BrokerUnavailable:
            raise HTTPException(503, "the other gateway is out of reach", _RETRY) from None
        if not found:
            # The same for a session that has ended, is another page's, or has never been. An SDK
            # opens a new connection at once.
            raise HTTPException(404, "no such session")
        return 204

    return router


_OUTCOMES = {
    400: "bad_request",
    403: "forbidden",
    404: "unknown",
    413: "too_large",
    503: "unavailable",
}
