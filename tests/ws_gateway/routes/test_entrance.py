"""The way of a handshake: its route, dependencies and handlers, and none of the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Depends, HTTPException, WebSocket
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ws_gateway.routes.entrance import Application
from ws_gateway.routes.handshake_clock import elapsed

PATH = "/socket"
Seen = list[str]


def application(seen: Seen, *, straight: bool) -> Application:
    """Make one that writes down what a request meets."""
    app = Application()

    async def bearer(connection: HTTPConnection) -> None:
        seen.append("dependency")
        if connection.query_params.get("who") is None:
            raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})

    @app.websocket(PATH, dependencies=[Depends(bearer)])
    async def route(websocket: WebSocket) -> None:
        seen.append("route")
        assert websocket.app is app
        assert elapsed(websocket.scope) >= 0
        await websocket.accept()

    @app.exception_handler(HTTPException)
    async def refuse(_connection: HTTPConnection, error: HTTPException) -> PlainTextResponse:
        seen.append("handler")
        return PlainTextResponse(error.detail, error.status_code, error.headers)

    app.add_middleware(_noting, seen=seen, name="middleware")
    if straight:
        app.take_handshakes(PATH)
    return app


def _noting(app: ASGIApp, *, seen: Seen, name: str) -> ASGIApp:
    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(name)
        await app(scope, receive, send)

    return noting


@pytest.fixture
def handshake() -> Callable[..., Awaitable[list[Message]]]:
    """Run one, and return what is answered."""

    async def run(app: ASGIApp, path: str = PATH, query: bytes = b"", **more: Any) -> list[Message]:  # noqa: ANN401 - of a scope
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query,
            "headers": [],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            **more,
        }
        await app(scope, receive, send)
        return sent

    return run


Handshake = Callable[..., Awaitable[list[Message]]]


@pytest.mark.parametrize("query", [b"", b"who=me"])
async def test_straight_way_answers_like_the_long_one(handshake: Handshake, query: bytes) -> None:
    """The same dependency, the same handler, the same words; only the middlewares are left out."""
    near: Seen = []
    far: Seen = []

    answered = await handshake(application(near, straight=True), query=query)

    assert answered == await handshake(application(far, straight=False), query=query)
    assert ["middleware", *near] == far
    assert near == (["dependency", "route"] if query else ["dependency", "handler"])


@pytest.mark.parametrize(
    "other", [{"path": "/else"}, {"path": "/below/socket", "root_path": "/below"}]
)
async def test_others_go_the_long_way(handshake: Handshake, other: dict[str, str]) -> None:
    """What the router finds, or does not find."""
    seen: Seen = []

    await handshake(application(seen, straight=True), **other)

    assert seen[0] == "middleware"


async def test_a_middleware_can_be_on_the_way(handshake: Handshake) -> None:
    """The one that says who the client is, behind a proxy."""
    seen: Seen = []
    app = application(seen, straight=False)
    app.take_handshakes(PATH, behind=lambda inner: _noting(inner, seen=seen, name="proxy"))

    await handshake(app, query=b"who=me")

    assert seen == ["proxy", "dependency", "route"]


def test_a_path_without_a_route_is_refused() -> None:
    """Where the application is made, and not when somebody comes."""
    with pytest.raises(ValueError, match="not enough values"):
        Application().take_handshakes(PATH)
