"""The internal port: what Kubernetes and Prometheus ask."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from ws_gateway.metrics import Metrics
from ws_gateway.routes import health


@pytest.fixture
def conditions() -> dict[str, bool]:
    """What readiness depends on; all is well."""
    return {"broker": True, "keys": True, "not_draining": True}


@pytest.fixture
async def client(conditions: dict[str, bool]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the internal port."""
    app = FastAPI()
    registry = CollectorRegistry()
    Metrics(registry, "1.2.3").messages_sent += 4
    app.include_router(health.create_router(registry=registry, conditions=lambda: conditions))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://internal") as client:
        yield client


async def test_ready_when_all_conditions_hold(client: httpx2.AsyncClient) -> None:
    """New sockets may come."""
    response = await client.get("/health/ready")

    assert response.status_code == 200
    assert response.json()["status"] == "ok"


@pytest.mark.parametrize("name", ["broker", "keys", "not_draining"])
async def test_not_ready_when_one_condition_fails(
    client: httpx2.AsyncClient, conditions: dict[str, bool], name: str
) -> None:
    """It says which; and is ready by itself when that is over."""
    conditions[name] = False
    response = await client.get("/health/ready")
    conditions[name] = True
    later = await client.get("/health/ready")

    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "conditions": {"broker": True, "keys": True, "not_draining": True} | {name: False},
    }
    assert later.status_code == 200


@pytest.mark.parametrize("path", ["/health/started", "/health/live"])
async def test_process_is_alive_also_when_it_is_not_ready(
    client: httpx2.AsyncClient, conditions: dict[str, bool], path: str
) -> None:
    """A restart would not bring Redis or the issuer back."""
    conditions.update(broker=False, keys=False, not_draining=False)
    response = await client.get(path)

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


async def test_metrics_are_prometheus_text(client: httpx2.AsyncClient) -> None:
    """As Prometheus parses it."""
    response = await client.get("/metrics")
    families = {found.name: found for found in text_string_to_metric_families(response.text)}

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert families["gateway_messages_sent"].samples[0].value == 4
