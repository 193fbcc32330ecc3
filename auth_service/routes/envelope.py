"""What every answer carries: request id, security headers, its place in the metrics."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth_service.logs import REQUEST_ID
from auth_service.metrics import Metrics

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# As ASGI has them: names in lower case, all in bytes.
_DEFAULT_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_UNCACHED = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))


class Envelope:
    """The outermost ASGI layer.

    Nothing may be stored by a cache unless its route says so, and what no route expected becomes a
    500 without a word about its cause; the log has the cause under the same request id.

    Args:
        app: The application inside.
        metrics: Where requests are counted; None: they are not.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics | None) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        status = 0

        async def send_wrapped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()), request_id)
            await send(message)

        begin = time.perf_counter()
        token = REQUEST_ID.set(request_id)
        try:
            await self._app(scope, receive, send_wrapped)
        except Exception:
            _log.exception("request_failed", extra={"route": _route(scope)})
            if status:
                raise  # half an answer is out; the server can only cut the connection
            answer = JSONResponse({"error": "server_error", "request_id": request_id}, 500)
            await answer(scope, receive, send_wrapped)
        finally:
            REQUEST_ID.reset(token)
            self._count(scope, status, time.perf_counter() - begin)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        if self._metrics is None:
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = _route(scope)
        self._metrics.http_requests.labels(method, route, str(status)).inc()
        self._metrics.http_request_duration.labels(method, route).observe(seconds)


def _route(scope: Scope) -> str:
    """Return the route's template, so that what clients invent makes one label value."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


def _request_id(scope: Scope) -> str:
    offered = Headers(scope=scope).get("x-request-id", "")
    return offered if _REQUEST_ID.fullmatch(offered) else secrets.token_hex(8)


def _completed(
    headers: Iterable[tuple[bytes, bytes]], request_id: str
) -> list[tuple[bytes, bytes]]:
    complete = [header for header in headers if header[0] != b"x-request-id"]
    given = {name for name, _ in complete}
    complete.append((b"x-request-id", request_id.encode("ascii")))
    complete += [header for header in _DEFAULT_HEADERS if header[0] not in given]
    if b"cache-control" not in given:
        complete += _UNCACHED
    return complete
