"""The internal port: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Reasons = dict[str, bool]


def create_router(*, registry: CollectorRegistry, conditions: Callable[[], Reasons]) -> APIRouter:
    """Make the routes.

    Args:
        registry: What ``/metrics`` shows.
        conditions: What must be true for new connections to come, by name.
    """
    router = APIRouter()

    @router.get("/health/started")
    async def started() -> dict[str, str]:
        """Settings are read and the listeners open: otherwise nobody could ask."""
        return {"status": "ok"}

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """The event loop turns."""
        return {"status": "ok"}

    @router.get(
        "/health/ready", responses={503: {"description": "They may not; the conditions say why"}}
    )
    async def ready() -> JSONResponse:
        """New connections may come."""
        state = conditions()
        status = all(state.values())
        return JSONResponse(
            {"status": "ok" if status else "unavailable", "conditions": state},
            200 if status else 503,
        )

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus's text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
