"""Probes and metrics."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from fastapi import FastAPI

from auth_service.app import Service, create_internal_app
from auth_service.exceptions import StoreUnavailable
from auth_service.routes.health import health_router


@pytest.fixture
def internal(service: Service) -> httpx2.AsyncClient:
    """A client of the internal application."""
    transport = httpx2.ASGITransport(create_internal_app(service))
    return httpx2.AsyncClient(transport=transport, base_url="http://internal")


async def test_a_started_service_is_ready(internal: httpx2.AsyncClient) -> None:
    """All three probes."""
    for name in ("started", "live", "ready"):
        answer = await internal.get(f"/health/{name}")
        assert (answer.status_code, answer.json()) == (200, {"status": name})


async def test_before_the_start_it_is_alive_only(
    service: Service, internal: httpx2.AsyncClient
) -> None:
    """Kubernetes waits for the start, and does not kill meanwhile."""
    service.started = False

    codes = [
        (await internal.get(f"/health/{name}")).status_code for name in ("started", "live", "ready")
    ]

    assert codes == [503, 200, 503]


async def test_without_database_it_is_alive_and_not_ready(
    service: Service, internal: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would not bring the database back."""

    async def fail() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(service.database, "ping", fail)

    assert (await internal.get("/health/ready")).status_code == 503
    assert (await internal.get("/health/live")).status_code == 200


async def test_a_database_that_hangs_is_not_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe answers within its own time."""

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(service.database, "ping", hang)
    app = FastAPI()
    app.include_router(
        health_router(
            database=service.database,
            metrics=service.metrics,
            started=lambda: True,
            ready_seconds=0.01,
        )
    )
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://internal") as http:
        assert (await http.get("/health/ready")).status_code == 503


async def test_requests_show_up_in_the_metrics(
    http: httpx2.AsyncClient, internal: httpx2.AsyncClient
) -> None:
    """Those of the public listener; probes would drown them."""
    await http.get("/token")
    await internal.get("/health/live")

    answer = await internal.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'auth_http_requests_total{code="405",method="GET",route="/token"} 1.0' in answer.text
    assert "/health/live" not in answer.text
