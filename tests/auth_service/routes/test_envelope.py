"""What every answer carries."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from auth_service.metrics import Metrics
from auth_service.routes.envelope import Envelope


@pytest.fixture
def metrics() -> Metrics:
    """Where requests are counted."""
    return Metrics()


@pytest.fixture
def http(metrics: Metrics) -> httpx2.AsyncClient:
    """A client of an application with a good, a failing and a half-failing route."""
    app = FastAPI(docs_url=None, openapi_url=None)
    app.add_middleware(Envelope, metrics=metrics)

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        return name

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def stream() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("too late")

        return StreamingResponse(stream())

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://auth")


async def test_nothing_is_cached_and_nothing_is_embedded(http: httpx2.AsyncClient) -> None:
    """Defaults that a route may override."""
    headers = (await http.get("/things/x")).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["Pragma"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


async def test_a_good_request_id_is_kept_and_a_bad_one_replaced(http: httpx2.AsyncClient) -> None:
    """So that a proxy's id can be followed, and no log line be forged by one."""
    kept = await http.get("/things/x", headers={"X-Request-ID": "abc-123_X"})
    assert kept.headers["X-Request-ID"] == "abc-123_X"

    for bad in ("", "a b", "x" * 65, "a;b", "a\u00e4"):
        made = await http.get("/things/x", headers=[(b"X-Request-ID", bad.encode())])
        assert re.fullmatch(r"[0-9a-f]{16}", made.headers["X-Request-ID"])


async def test_an_unexpected_failure_says_nothing_but_its_id(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the traceback, the client has the id."""
    with caplog.at_level(logging.ERROR):
        answer = await http.get("/broken", headers={"X-Request-ID": "find-me"})

    assert answer.status_code == 500
    assert answer.json() == {"error": "server_error", "request_id": "find-me"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert caplog.records[0].getMessage() == "request_failed"
    assert caplog.records[0].exc_info is not None


async def test_half_an_answer_is_cut_off(http: httpx2.AsyncClient) -> None:
    """A second status cannot be sent any more."""
    with pytest.raises(RuntimeError, match="too late"):
        await http.get("/half")


async def test_labels_are_bounded(http: httpx2.AsyncClient, metrics: Metrics) -> None:
    """Route templates, one label for the unknown, known methods."""
    await http.get("/things/1")
    await http.get("/things/2")
    await http.get("/wp-admin")
    await http.get("/etc/passwd")
    await http.request("BREW", "/things/1")

    series = {
        (sample.labels["method"], sample.labels["route"], sample.labels["code"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "auth_http_requests_total"
    }
    assert series == {
        ("GET", "/things/{name}", "200"): 2,
        ("GET", "unmatched", "404"): 2,
        ("other", "/things/{name}", "405"): 1,
    }


async def test_other_kinds_of_scope_pass_untouched() -> None:
    """The lifespan is no request."""
    seen: list[str] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(_: Message) -> None:
        """Take what comes."""

    await Envelope(app, metrics=None)({"type": "lifespan"}, receive, send)

    assert seen == ["lifespan"]
