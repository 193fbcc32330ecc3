"""The front as an attacker sees it: nothing but what is on the list, however it is spelled."""

from __future__ import annotations

import asyncio
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration


async def request(server: Embedded, target: str, method: str = "GET") -> int:
    """Send a request line as it is, and return the status of the answer."""
    reader, writer = await asyncio.open_connection(
        "localhost", server.front, ssl=server.context, family=socket.AF_INET
    )
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "//metrics",
        "/health/ready",
        "/health/live",
        "/api/publish",
        "/api/publish?x",
        "//token",
        "/%74oken",
        "/token/",
        "/token;x",
        "/token%00",
        "/token/../metrics",
        "/connection/../metrics",
        "/connection/websocket/../../metrics",
        "/connection/websocket/",
        "/static/auth/../../metrics",
        "/static/auth/..%2f..%2fmetrics",
        "/static/gateway/.hidden",
        "/static/gateway/",
        "/sessions/a/b",
        "/TOKEN",
        "/redoc",
        "/internal",
        "https://localhost/metrics",
    ],
)
async def test_what_is_not_on_the_list_is_404(server: Embedded, target: str) -> None:
    """Paths are compared as they were sent."""
    assert await request(server, target) == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/.well-known/jwks.json", 200),
        ("/.well-known/oauth-authorization-server", 200),
        ("/openapi.json", 200),
        ("/docs", 200),
        ("/users/me", 401),
        ("/token", 405),
        ("https://localhost/.well-known/jwks.json", 200),
        ("/connection/websocket", 426),
    ],
)
async def test_what_is_on_the_list_is_answered_by_its_service(
    server: Embedded, target: str, status: int
) -> None:
    """Each by the application that owns it."""
    assert await request(server, target) == status


@pytest.mark.parametrize("path", ["/metrics", "/token", "/connection/websocket/", "/%63onnection"])
async def test_other_websockets_are_404(server: Embedded, path: str) -> None:
    """A denial with its true status, not a bare 403."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"wss://localhost:{server.front}{path}", ssl=server.context, proxy=None):
            pass

    assert caught.value.response.status_code == 404


async def test_what_is_no_path_at_all_is_refused(server: Embedded) -> None:
    """RFC 9112 section 3.2: forms of a target that no application expects."""
    assert await request(server, "*", "OPTIONS") in {400, 404}
    assert await request(server, "localhost:443", "CONNECT") in {400, 404, 405}
