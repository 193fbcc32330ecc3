"""Which answers pages of other origins may read (the Fetch standard's CORS protocol).

The keys and the metadata are public: anybody's page may read them. The endpoints that a page's own
OAuth2 client needs are for the configured origins. Nothing is ever allowed with cookies, and
introspection, which is for servers, is not allowed at all.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC_PREFIX = "/.well-known/"
LISTED_PATHS = frozenset({"/token", "/revoke", "/device_authorization"})
_PREFLIGHT_SECONDS = 600


class CrossOrigin:
    """Adds the headers that let a page read an answer.

    Args:
        app: The application inside.
        origins: The pages that may use the listed endpoints, as browsers write ``Origin``.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        public = path.startswith(PUBLIC_PREFIX)
        if scope["type"] != "http" or not (public or path in LISTED_PATHS):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        allowed = self._allowed(headers, public=public)

        async def send_wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                if not public:
                    answer.add_vary_header("Origin")
                if allowed is not None:
                    answer["Access-Control-Allow-Origin"] = allowed
                    answer["Access-Control-Expose-Headers"] = (
                        "Retry-After, WWW-Authenticate, X-Request-ID"
                    )
            await send(message)

        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if preflight and allowed is not None:
            answer = Response(
                status_code=204,
                headers={
                    "Access-Control-Allow-Methods": "GET" if public else "POST",
                    "Access-Control-Allow-Headers": "Authorization, Content-Type",
                    "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
                },
            )
            await answer(scope, receive, send_wrapped)
            return
        await self._app(scope, receive, send_wrapped)

    def _allowed(self, headers: Headers, *, public: bool) -> str | None:
        if public:
            return "*"
        named = headers.getlist("origin")
        return named[0] if len(named) == 1 and named[0] in self._origins else None
