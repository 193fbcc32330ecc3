"""The server API over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from starlette.requests import Request

from tests.ws_gateway.api.conftest import API, api
from ws_gateway.api.messages import REQUESTS
from ws_gateway.metrics import Buckets
from ws_gateway.routes.api import create_router

__all__ = ["api"]

KEY = {"X-API-Key": "right"}
LIMIT = 2000


class OneKey:
    """A door that knows one key."""

    async def __call__(self, request: Request) -> None:
        """See Access."""
        if request.headers.get("x-api-key") != "right":
            raise HTTPException(401, "no")
        request.state.caller = "key"


@pytest.fixture
def seconds() -> Buckets:
    """How long requests took."""
    return Buckets((1,))


@pytest.fixture
async def client(api: API, seconds: Buckets) -> AsyncIterator[httpx2.AsyncClient]:
    """A backend."""
    app = FastAPI()
    app.include_router(
        create_router(
            api.operations,
            OneKey(),  # type: ignore[arg-type]
            max_body_bytes=LIMIT,
            seconds=seconds,
        )
    )
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://internal", headers=KEY
    ) as client:
        yield client


async def test_a_result_is_wrapped(client: httpx2.AsyncClient, seconds: Buckets) -> None:
    """And how long it took is noted."""
    answer = await client.post("/api/publish", json={"channel": "news", "data": {"a": 1}})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["offset"] == 1
    assert seconds.read()[0][-1] == ("+Inf", 1)


async def test_an_error_is_told_with_200(client: httpx2.AsyncClient) -> None:
    """As clients of the API want it."""
    answer = await client.post("/api/publish", json={"channel": "nowhere:1", "data": 1})

    assert answer.status_code == 200
    assert answer.json() == {"error": {"code": 102, "message": "unknown channel"}}


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("publish", {"channel": "nowhere:1", "data": 1}, 404),
        ("publish", {"channel": "news"}, 400),
        ("history", {"channel": "room:1"}, 400),
        ("history", {"channel": "news", "limit": 1, "since": {"offset": 1, "epoch": "x"}}, 416),
    ],
)
async def test_or_with_a_status_for_who_asks_for_it(
    client: httpx2.AsyncClient, method: str, body: object, status: int
) -> None:
    """The error itself is the same."""
    mode = {"X-Centrifugo-Error-Mode": "transport"}

    answer = await client.post(f"/api/{method}", json=body, headers=mode)

    assert answer.status_code == status
    assert answer.json()["error"]["code"]


async def test_a_batch_stands_alone(client: httpx2.AsyncClient) -> None:
    """So that ``cent`` finds its replies."""
    answer = await client.post("/api/batch", json={"commands": [{"info": {}}]})

    assert [list(reply) for reply in answer.json()["replies"]] == [["info"]]


@pytest.mark.parametrize("method", REQUESTS)
async def test_what_cannot_be_read_is_400(client: httpx2.AsyncClient, method: str) -> None:
    """With an error that a client can read."""
    for body in (b"[", b"[]", b'"x"', b'{"channel": {}', b"\xff"):
        answer = await client.post(f"/api/{method}", content=body)

        assert answer.status_code == 400
        assert answer.json() == {"error": {"code": 107, "message": "bad request"}}


@pytest.mark.parametrize("method", REQUESTS)
async def test_no_body_is_an_empty_request(client: httpx2.AsyncClient, method: str) -> None:
    """What it lacks has its own error."""
    answer = await client.post(f"/api/{method}")

    assert answer.status_code == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_too_long_is_413(client: httpx2.AsyncClient, announced: bool) -> None:
    """Whether it says so before or not."""
    body = json.dumps({"channel": "news", "data": "x" * LIMIT}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    answer = await client.post("/api/publish", content=body if announced else pieces())

    assert answer.status_code == 413


async def test_the_door_is_before_the_body(client: httpx2.AsyncClient) -> None:
    """Who may not is not told what is wrong with it."""
    answer = await client.post("/api/publish", content=b"[", headers={"X-API-Key": "wrong"})

    assert answer.status_code == 401


async def test_other_paths_and_verbs_are_not_there(client: httpx2.AsyncClient) -> None:
    """404 and 405."""
    assert (await client.post("/api/explode")).status_code == 404
    assert (await client.post("/api")).status_code == 404
    assert (await client.get("/api/info")).status_code == 405


async def test_the_log_says_who_did_what_and_nothing_of_it(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither channel nor data nor key."""
    caplog.set_level(logging.INFO, "ws_gateway.routes.api")

    await client.post("/api/publish", json={"channel": "news", "data": "words"})
    await client.post("/api/publish", json={"channel": "nowhere:1", "data": "words"})
    await client.post("/api/publish", content=b"[")

    said = [
        (one.method, one.who, one.code)  # type: ignore[attr-defined]
        for one in caplog.records
        if one.name == "ws_gateway.routes.api"
    ]
    assert said == [("publish", "key", 0), ("publish", "key", 102), ("publish", "key", 107)]
    assert "words" not in caplog.text


async def test_openapi_describes_every_method(client: httpx2.AsyncClient) -> None:
    """With its request and its answers."""
    paths = (await client.get("/openapi.json")).json()["paths"]

    assert paths.keys() == {f"/api/{method}" for method in REQUESTS}
    for path in paths.values():
        assert "requestBody" in path["post"]
        assert {"200", "400", "401", "403", "413"} <= path["post"]["responses"].keys()
