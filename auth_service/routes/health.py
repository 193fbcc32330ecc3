"""Probes and metrics, for the internal listener only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from auth_service.exceptions import StoreUnavailable
from auth_service.metrics import CONTENT_TYPE, Metrics
from auth_service.store.database import Database

READY_SECONDS = 2.0
_NOT_YET: dict[int | str, dict[str, Any]] = {
    503: {"content": {"application/json": {}}, "description": "Not now; `status` says why."}
}


def health_router(
    *,
    database: Database,
    metrics: Metrics,
    started: Callable[[], bool],
    ready_seconds: float = READY_SECONDS,
) -> APIRouter:
    """Build the routes.

    Args:
        database: Readiness asks it for a sign of life.
        metrics: What is exposed.
        started: Whether settings, keys and tables are in place.
        ready_seconds: How long the database may take to answer.
    """
    router = APIRouter()

    @router.get("/health/started", summary="Has the start succeeded", responses=_NOT_YET)
    async def is_started() -> JSONResponse:
        """Answer 200 once everything is loaded."""
        return _answer("started") if started() else _answer("starting", 503)

    @router.get("/health/live", summary="Does the event loop turn")
    async def is_live() -> JSONResponse:
        """Answer 200, which only a turning loop can; a lost database is no reason to restart."""
        return _answer("live")

    @router.get("/health/ready", summary="May requests come", responses=_NOT_YET)
    async def is_ready() -> JSONResponse:
        """Answer 200 if the start succeeded and the database answers."""
        if not started():
            return _answer("starting", 503)
        try:
            async with asyncio.timeout(ready_seconds):
                await database.ping()
        except (StoreUnavailable, TimeoutError):
            return _answer("database unreachable", 503)
        return _answer("ready")

    @router.get(
        "/metrics",
        summary="Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "All series."}},
    )
    async def expose() -> Response:
        """Return all series in Prometheus' text format."""
        return Response(metrics.expose(), media_type=CONTENT_TYPE)

    return router


def _answer(status: str, code: int = 200) -> JSONResponse:
    return JSONResponse({"status": status}, code)
