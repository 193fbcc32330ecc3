"""``/api/connections`` and ``/api/closes``: why a client is, or is not, connected."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from starlette.responses import Response

from ws_gateway.api import schema
from ws_gateway.api.access import Access
from ws_gateway.api.explanations import (
    MAX_LISTED,
    CloseList,
    ConnectionList,
    Explanations,
)
from ws_gateway.api.messages import encode
from ws_gateway.descriptions import ConnectionDetails
from ws_gateway.exceptions import ReplyError
from ws_gateway.routes.api import PREFIX, REFUSALS

Limit = Annotated[int, Query(ge=1, le=MAX_LISTED, description="How many at most.")]
User = Annotated[
    str | None, Query(max_length=255, description="Whose; empty for those who have not said.")
]
Id = Annotated[str, Query(max_length=64, description="The id to begin after.")]
Code = Annotated[int, Query(ge=0, le=4999, description="With this close code; 0 for any.")]
_UNREACHABLE: dict[int | str, dict[str, object]] = {
    503: {"description": "Tokens cannot be checked, or gateways be asked, now"}
}
_NOT_FOUND: dict[int | str, dict[str, object]] = {404: {"description": "No gateway has it"}}


def create_router(explanations: Explanations, access: Access) -> APIRouter:
    """Make the routes.

    Args:
        explanations: What is said.
        access: To whom.
    """
    router = APIRouter(prefix=PREFIX, tags=["connections"], dependencies=[Depends(access)])

    @router.get("/connections", responses=_responses(ConnectionList), response_class=Response)
    async def list_connections(user: User = None, after: Id = "", limit: Limit = 100) -> Response:
        """List the connections of a user, or all, in the order of their ids."""
        try:
            found = await explanations.list_connections(user=user, after=after, limit=limit)
        except ReplyError as error:
            raise _unreachable() from error
        return _json(found)

    @router.get(
        "/connections/{client}",
        responses=_NOT_FOUND | _responses(ConnectionDetails),
        response_class=Response,
    )
    async def show_connection(client: Annotated[str, Path(max_length=64)]) -> Response:
        """Say all about one connection."""
        try:
            found = await explanations.show_connection(client)
        except ReplyError as error:
            raise _unreachable() from error
        if found is None:
            raise HTTPException(404, "there is no such connection")
        return _json(found)

    @router.get("/closes", responses=_responses(CloseList), response_class=Response)
    async def list_closes(user: User = None, code: Code = 0, limit: Limit = 100) -> Response:
        """List the connections that ended last, and why."""
        try:
            found = await explanations.list_closes(user=user, code=code, limit=limit)
        except ReplyError as error:
            raise _unreachable() from error
        return _json(found)

    return router


def _responses(answer: type) -> dict[int | str, dict[str, object]]:
    found: dict[str, object] = {"description": "What they know", **schema.described(answer)}
    return REFUSALS | _UNREACHABLE | {200: found}


def _json(content: object) -> Response:
    return Response(encode(content), media_type="application/json")


def _unreachable() -> HTTPException:
    return HTTPException(503, "the gateways cannot be asked now", {"Retry-After": "1"})
