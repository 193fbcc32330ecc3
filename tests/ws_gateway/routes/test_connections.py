"""Why a client is connected or not, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from tests.ws_gateway.api.conftest import API, api
from tests.ws_gateway.routes.test_api import KEY, OneKey
from ws_gateway.api.explanations import Explanations
from ws_gateway.credentials import Credentials
from ws_gateway.routes.connections import create_router

__all__ = ["api"]


@pytest.fixture
async def client(api: API) -> AsyncIterator[httpx2.AsyncClient]:
    """An operator."""
    app = FastAPI()
    explanations = Explanations(api.cluster)
    app.include_router(create_router(explanations, OneKey()))  # type: ignore[arg-type]
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://internal", headers=KEY
    ) as client:
        yield client


async def test_connections_are_listed_and_shown(
    client: httpx2.AsyncClient,
    api: API,
    alice: Credentials,
    bob: Credentials,
) -> None:
    """By user, and one by its id."""
    mine = (await api.gateway.connect(alice)).connection.client
    await api.gateway.connect(bob)

    every = (await client.get("/api/connections")).json()
    found = (await client.get("/api/connections", params={"user": "alice"})).json()
    page = (await client.get("/api/connections", params={"limit": 1})).json()
    one = (await client.get(f"/api/connections/{mine}")).json()

    assert len(every["connections"]) == 2
    assert [each["client"] for each in found["connections"]] == [mine]
    assert page["next"] == page["connections"][0]["client"]
    assert one["claims"]["info"] == {"name": "Alice"}
    assert (await client.get("/api/connections/unknown")).status_code == 404


async def test_ends_are_listed(
    client: httpx2.AsyncClient,
    api: API,
    alice: Credentials,
) -> None:
    """By user and code."""
    peer = await api.gateway.connect(alice)
    peer.connection.disconnect(4000, "words")

    found = (await client.get("/api/closes", params={"user": "alice", "code": 4000})).json()
    none = (await client.get("/api/closes", params={"code": 3000})).json()

    assert [(one["code"], one["detail"]) for one in found["closes"]] == [(4000, "words")]
    assert found["by_code"] == {"4000": 1}
    assert none["closes"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/connections?limit=0",
        "/api/connections?limit=1001",
        "/api/connections?limit=x",
        f"/api/connections?user={'x' * 256}",
        f"/api/connections?after={'x' * 65}",
        f"/api/connections/{'x' * 65}",
        "/api/closes?code=-1",
        "/api/closes?code=5000",
    ],
)
async def test_a_question_out_of_bounds_is_refused(client: httpx2.AsyncClient, path: str) -> None:
    """422, as FastAPI says it."""
    assert (await client.get(path)).status_code == 422


@pytest.mark.parametrize("path", ["/api/connections", "/api/connections/x", "/api/closes"])
async def test_only_who_may_is_told(client: httpx2.AsyncClient, path: str) -> None:
    """It is about people."""
    assert (await client.get(path, headers={"X-API-Key": "wrong"})).status_code == 401


@pytest.mark.parametrize("path", ["/api/connections", "/api/connections/x", "/api/closes"])
async def test_without_a_way_to_the_others_it_is_503(
    client: httpx2.AsyncClient,
    api: API,
    path: str,
) -> None:
    """And comes back."""
    await api.cluster.stop()

    answer = await client.get(path)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
