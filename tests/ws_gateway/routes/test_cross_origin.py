"""Whose pages may read an answer."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from ws_gateway.routes.cross_origin import CrossOrigin

PAGE = "https://app.example.com"
ASKED = "Access-Control-Request-Headers"


class Application:
    """Answers everything with 418, and notes it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del receive
        self.scopes.append(scope)
        start: dict[str, Any] = {"type": "http.response.start", "status": 418, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": b"here"})


@pytest.fixture
def app() -> Application:
    """What is behind it."""
    return Application()


@pytest.fixture
def http(app: Application) -> httpx2.AsyncClient:
    """A client of one path that pages of one origin may read, and of others."""
    around = CrossOrigin(app, methods={"/shared": ("GET", "POST")}, origins={PAGE})
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(around), base_url="http://gateway")


def granted(answer: httpx2.Response) -> set[str]:
    """Return what an answer allows."""
    return {name for name in answer.headers if name.startswith("access-control-")}


async def test_an_allowed_page_may_read(http: httpx2.AsyncClient, app: Application) -> None:
    """And a cache must know that the answer is for it."""
    answer = await http.post("/shared", headers={"Origin": PAGE})

    assert (answer.status_code, answer.text) == (418, "here")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"
    assert len(app.scopes) == 1


@pytest.mark.parametrize("headers", [{}, {"Origin": "null"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize("path", ["/shared", "/other"])
async def test_nobody_else_may(
    http: httpx2.AsyncClient, app: Application, headers: dict[str, str], path: str
) -> None:
    """What becomes of the request is not decided here."""
    answer = await http.get(path, headers=headers)

    assert answer.status_code == 418
    assert granted(answer) == set()
    assert len(app.scopes) == 1


async def test_a_preflight_is_answered_here(http: httpx2.AsyncClient, app: Application) -> None:
    """With what is allowed; which headers is for the page to say."""
    answer = await http.options("/shared", headers={"Origin": PAGE, ASKED: "content-type, x-a"})

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "content-type, x-a"
    assert answer.headers["access-control-max-age"] == "300"
    assert answer.headers["allow"] == "GET, POST, OPTIONS"
    assert app.scopes == []


async def test_a_preflight_of_a_foreign_page_is_refused(
    http: httpx2.AsyncClient, app: Application
) -> None:
    """O29: no header allows anything."""
    answer = await http.options("/shared", headers={"Origin": "https://evil.example", ASKED: "x"})

    assert answer.status_code == 403
    assert granted(answer) == set()
    assert app.scopes == []


@pytest.mark.parametrize("wanted", ["x\tb", "é", "a;b", "x" * 2000])
async def test_names_of_headers_that_are_none_are_not_echoed(
    http: httpx2.AsyncClient, wanted: str
) -> None:
    """They would be put into our answer."""
    answer = await http.options(
        "/shared", headers=[(b"Origin", PAGE.encode()), (ASKED.encode(), wanted.encode("latin-1"))]
    )

    assert answer.status_code == 204
    assert "access-control-allow-headers" not in answer.headers


async def test_options_without_an_origin_names_the_methods(http: httpx2.AsyncClient) -> None:
    """That is all it is for then (RFC 9110 section 9.3.7)."""
    answer = await http.options("/shared")

    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, POST, OPTIONS")
    assert granted(answer) == set()


async def test_other_paths_are_left_alone(http: httpx2.AsyncClient, app: Application) -> None:
    """Their OPTIONS too."""
    answer = await http.options("/other", headers={"Origin": PAGE})

    assert answer.status_code == 418
    assert len(app.scopes) == 1
