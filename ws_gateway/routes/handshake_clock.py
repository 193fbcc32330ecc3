"""When a handshake came, for how long it took."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

_BEGAN = "drawbridge.began"
_now = time.perf_counter


class HandshakeClock:
    """Notes when a request came, before anything else looks at it; an ASGI middleware.

    Args:
        app: The rest of the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on (ASGI)."""
        begin(scope)
        await self._app(scope, receive, send)


def begin(scope: MutableMapping[str, Any]) -> None:
    """Note that this request came now."""
    scope[_BEGAN] = _now()


def elapsed(scope: MutableMapping[str, Any]) -> float:
    """Return the seconds since this request came; 0 if nobody has noted that."""
    now = _now()
    return now - float(scope.get(_BEGAN, now))
