"""``GET /asyncapi.json``: the client protocol, for programs that read such documents."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ws_gateway import asyncapi
from ws_gateway.routes.asset import Asset


def create_router() -> APIRouter:
    """Make the route; the document is written now, once. It is for everybody to read."""
    router = APIRouter(include_in_schema=False)
    document = Asset.of(asyncapi.write(), asyncapi.MEDIA_TYPE)

    @router.get("/asyncapi.json")
    async def read(request: Request) -> Response:
        return document.answer(request)

    return router
