"""Which application gets a path, and what gets none."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from infra.embedded.front import Front


class Named:
    """An application that only notes that it was called."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the path."""
        del receive, send
        self.paths.append(scope["raw_path"])


async def visit(path: bytes, kind: str = "http") -> str | int:
    """Return who was asked for a path, or the front's own status."""
    auth, gateway = Named(), Named()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("the front reads no body")

    scope = {"type": kind, "raw_path": path, "path": path.decode("latin-1"), "method": "GET"}
    await Front(auth=auth, gateway=gateway)(scope, receive, send)
    if sent:
        prefix = "websocket.http" if kind == "websocket" else "http"
        assert sent[0]["type"] == f"{prefix}.response.start"
        assert not auth.paths + gateway.paths
        return int(sent[0]["status"])
    return "auth" if auth.paths == [path] else "gateway"


@pytest.mark.parametrize(
    "path",
    [
        b"/token",
        b"/revoke",
        b"/introspect",
        b"/device_authorization",
        b"/authorize",
        b"/device",
        b"/.well-known/oauth-authorization-server",
        b"/.well-known/oauth-authorization-server/tenant",
        b"/.well-known/jwks.json",
        b"/users/me",
        b"/users/me/password",
        b"/sessions",
        b"/sessions/AbC-_9",
        b"/login",
        b"/session",
        b"/session/refresh",
        b"/static/auth/login.css",
        b"/static/auth/fonts/a.woff2",
        b"/openapi.json",
        b"/docs",
    ],
)
async def test_these_are_the_auth_services(path: bytes) -> None:
    """The allow-list, first half; a WebSocket there is nobody's."""
    assert await visit(path) == "auth"
    assert await visit(path, "websocket") == 404


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/static/gateway/chat.js",
        b"/connection/websocket",
        b"/connection/http_stream",
        b"/connection/sse",
        b"/emulation",
        b"/asyncapi.json",
    ],
)
async def test_these_are_the_gateways(path: bytes) -> None:
    """The allow-list, second half; one of them takes WebSockets."""
    assert await visit(path) == "gateway"
    expected = "gateway" if path == b"/connection/websocket" else 404
    assert await visit(path, "websocket") == expected


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"//",
        b"//token",
        b"/token/",
        b"/%74oken",
        b"/Token",
        b"/token;v=1",
        b"/token%00",
        b"/token\x00",
        b"/token\n",
        b"/./token",
        b"/connection/../metrics",
        b"/connection/websocket/",
        b"/connection",
        b"/metrics",
        b"/health/ready",
        b"/health/live",
        b"/health/started",
        b"/api",
        b"/api/publish",
        b"/revocations",
        b"/sessions/",
        b"/sessions/a/b",
        b"/sessions/..",
        b"/sessions/a\n",
        b"/static/auth",
        b"/static/auth/",
        b"/static/auth/..",
        b"/static/auth/../gateway/x",
        b"/static/auth/..%2fx",
        b"/static/auth/a//b",
        b"/static/auth/.env",
        b"/static/gateway/a/../../../x",
        b"/static/other/x",
        b"/redoc",
        b"/well-known/jwks.json",
        b"token",
        b"*",
        "/töken".encode(),
    ],
)
async def test_everything_else_is_nobodys(path: bytes) -> None:
    """404 by the front itself, to requests and to WebSocket handshakes."""
    assert await visit(path) == 404
    assert await visit(path, "websocket") == 404
