"""What lets the pages of allowed origins read the fallbacks' answers (the Fetch standard's CORS).

WebSockets need none of it: there the ``Origin`` is checked, and that is all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ws_gateway.exceptions import HandshakeRejected
from ws_gateway.handshake import read_origin

_MAX_AGE_SECONDS = "300"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9, _-]{1,1000}")


class CrossOrigin:
    """Answers preflights, and names the origin in other answers; an ASGI middleware.

    Args:
        app: What it is around.
        methods: Which methods each path has; other paths are left alone.
        origins: Whose pages may read.
    """

    def __init__(
        self, app: ASGIApp, *, methods: Mapping[str, Collection[str]], origins: Collection[str]
    ) -> None:
        self._app = app
        self._methods = {path: ", ".join((*names, "OPTIONS")) for path, names in methods.items()}
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        methods = self._methods.get(scope["path"]) if scope["type"] == "http" else None
        if methods is None:
            await self._app(scope, receive, send)
            return
        try:
            origin = read_origin(scope["headers"], origins=self._origins)
        except HandshakeRejected as error:
            if scope["method"] != "OPTIONS":
                await self._app(scope, receive, send)  # refuses it too, and counts it
                return
            await PlainTextResponse(error.detail, error.status)(scope, receive, send)
            return
        granted = {"vary": "Origin"}
        if origin is not None:
            granted["access-control-allow-origin"] = origin
            granted["access-control-allow-credentials"] = "true"
        if scope["method"] == "OPTIONS":
            headers = granted | {"allow": methods}
            if origin is not None:
                headers |= _preflight(Headers(scope=scope), methods)
            await Response(status_code=204, headers=headers)(scope, receive, send)
            return

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(granted)
            await send(message)

        await self._app(scope, receive, send_with_origin)


def _preflight(request: Headers, methods: str) -> dict[str, str]:
    answer = {
        "access-control-allow-methods": methods,
        "access-control-max-age": _MAX_AGE_SECONDS,
    }
    wanted = request.get("access-control-request-headers", "")
    if _HEADER_NAMES.fullmatch(wanted):
        answer["access-control-allow-headers"] = wanted
    return answer
