"""The one door for clients: which path belongs to which application, and that there are no others.

The paths are those of the front in every deployment. They are compared as they were sent, before
any percent-decoding, so that no other spelling of a path reaches an application: what is internal
(``/metrics``, ``/health``, ``/api``) stays so whatever a router would make of ``//metrics`` or
``/%6detrics``.
"""

from __future__ import annotations

import re

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_WEBSOCKET = b"/connection/websocket"
_AUTH = frozenset(
    {
        b"/token",
        b"/revoke",
        b"/introspect",
        b"/device_authorization",
        b"/authorize",
        b"/device",
        b"/.well-known/oauth-authorization-server",
        b"/.well-known/jwks.json",
        b"/users/me",
        b"/users/me/password",
        b"/sessions",
        b"/login",
        b"/session",
        b"/session/refresh",
        b"/openapi.json",
        b"/docs",
    }
)
_GATEWAY = frozenset(
    {
        b"/",
        _WEBSOCKET,
        b"/connection/http_stream",
        b"/connection/sse",
        b"/emulation",
        b"/asyncapi.json",
    }
)
# Names below a folder begin with no dot, so that none of them is "..".
_NAMES = rb"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
# The path of an issuer that has one follows the well-known one (RFC 8414 section 3.1).
_AUTH_BELOW = re.compile(
    rb"/sessions/[A-Za-z0-9_-]+|(/static/auth|/\.well-known/oauth-authorization-server)" + _NAMES
)
_GATEWAY_BELOW = re.compile(rb"/static/gateway" + _NAMES)


class Front:
    """Passes requests on to the two public applications, and answers 404 to all others.

    Args:
        auth: The auth service's.
        gateway: The gateway's.
    """

    def __init__(self, *, auth: ASGIApp, gateway: ASGIApp) -> None:
        self._auth = auth
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket handshake."""
        await self._choose(scope)(scope, receive, send)

    def _choose(self, scope: Scope) -> ASGIApp:
        path: bytes = scope["raw_path"]
        if scope["type"] == "websocket":
            return self._gateway if path == _WEBSOCKET else _not_found
        if path in _AUTH or _AUTH_BELOW.fullmatch(path):
            return self._auth
        if path in _GATEWAY or _GATEWAY_BELOW.fullmatch(path):
            return self._gateway
        return _not_found


# To a WebSocket the same answer goes out as a denial response: closing it would be a bare 403.
_not_found = PlainTextResponse("Not Found", 404)
