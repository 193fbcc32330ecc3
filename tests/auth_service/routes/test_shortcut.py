"""The short way answers as the long one does."""

from __future__ import annotations

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from auth_service.exceptions import InvalidGrant
from auth_service.metrics import Metrics
from auth_service.routes.envelope import Envelope
from auth_service.routes.errors import install_error_answers
from auth_service.routes.shortcut import Shortcut


def _router() -> APIRouter:
    router = APIRouter()

    @router.post("/asked", response_model=None)
    async def asked(request: Request) -> JSONResponse:
        body = await request.body()
        if body == b"refused":
            raise InvalidGrant
        if body == b"broken":
            raise RuntimeError("the password is hunter2")
        return JSONResponse({"body": body.decode()})

    return router


class _Watch:
    """Notes what comes to the framework."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._seen.append(scope["path"])
        await self._app(scope, receive, send)


def _client(metrics: Metrics, *, short: bool, framework: list[str]) -> httpx2.AsyncClient:
    app = FastAPI(docs_url=None, redirect_slashes=False)
    router = _router()
    app.include_router(router)
    install_error_answers(app)
    app.add_middleware(_Watch, seen=framework)
    if short:
        app.add_middleware(Shortcut, routers=[router])
    app.add_middleware(Envelope, metrics=metrics)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://auth")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/asked", b"x", 200),
        ("POST", "/asked", b"refused", 400),
        ("POST", "/asked", b"broken", 500),
        ("GET", "/asked", b"", 405),
        ("POST", "/asked/", b"x", 404),
        ("POST", "/other", b"x", 404),
    ],
)
async def test_nobody_can_tell_the_short_way(
    method: str, path: str, body: bytes, status: int
) -> None:
    """Status, headers, body and the place in the metrics are the same."""
    answers, places = [], []
    for short in (False, True):
        metrics = Metrics()
        http = _client(metrics, short=short, framework=[])
        answer = await http.request(method, path, content=body, headers={"X-Request-ID": "one"})
        answers.append((answer.status_code, answer.headers, answer.content))
        places.append(
            [
                sample.labels
                for family in metrics.registry.collect()
                for sample in family.samples
                if sample.name == "auth_http_requests_total"
            ]
        )

    assert answers[0] == answers[1]
    assert places[0] == places[1]
    assert answers[0][0] == status


async def test_the_framework_does_not_see_what_goes_the_short_way() -> None:
    """It does the rest, and shows all of it."""
    framework: list[str] = []
    http = _client(Metrics(), short=True, framework=framework)

    await http.post("/asked", content=b"x")
    assert framework == []

    shown = (await http.get("/openapi.json")).json()
    await http.get("/asked")
    assert framework == ["/openapi.json", "/asked"]
    assert "post" in shown["paths"]["/asked"]
