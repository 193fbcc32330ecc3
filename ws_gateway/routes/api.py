"""``/api/METHOD``: the server API over HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ws_gateway.api import schema
from ws_gateway.api.access import Access
from ws_gateway.api.messages import REQUESTS, UNWRAPPED, decode, encode
from ws_gateway.api.operations import Operations
from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ReplyError
from ws_gateway.metrics import Buckets
from ws_gateway.protocol.messages import Error

logger = logging.getLogger(__name__)

PREFIX = "/api"
ERROR_MODE = "x-centrifugo-error-mode"
"""With ``transport`` in this header errors are HTTP statuses too."""

REFUSALS: dict[int | str, dict[str, object]] = {
    401: {"description": "No API key and no token, or one that is not valid"},
    403: {"description": "The token is no service's with the scope of the server API"},
    503: {"description": "Tokens cannot be checked now"},
}
"""What every path of the API may answer."""

_STATUSES = {100: 500, 102: 404, 104: 404, 112: 416, 113: 409}
_OTHER_STATUS = 400


def create_router(
    operations: Operations, access: Access, *, max_body_bytes: int, seconds: Buckets
) -> APIRouter:
    """Make the routes, one for each method.

    Args:
        operations: What is done.
        access: Who may.
        max_body_bytes: Of a request.
        seconds: Where to note how long requests took.
    """
    router = APIRouter(prefix=PREFIX, tags=["server API"], dependencies=[Depends(access)])
    for method, request_type in REQUESTS.items():
        router.add_api_route(
            f"/{method}",
            _endpoint(method, operations, max_body_bytes, seconds),
            methods=["POST"],
            name=method,
            summary=(request_type.__doc__ or "").partition("\n")[0],
            description="",
            response_class=Response,
            responses=REFUSALS | schema.responses(method),
            openapi_extra={"requestBody": schema.request_body(method)},
        )
    return router


def _endpoint(
    method: str, operations: Operations, max_body_bytes: int, seconds: Buckets
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        who: str = request.state.caller
        begun = time.perf_counter()
        transport = request.headers.get(ERROR_MODE, "") == "transport"
        try:
            body = await _read(request, max_body_bytes)
        except ClientDisconnect:
            return Response(status_code=_OTHER_STATUS)  # for nobody
        if body is None:
            return _failure(ReplyError(ErrorCode.BAD_REQUEST), 413)
        try:
            result = await operations.perform(decode(method, body or b"{}"))
        except ReplyError as error:
            _log(method, who, error.code)
            status = _STATUSES.get(error.code, _OTHER_STATUS) if transport else 200
            return _failure(error, status)
        except ValueError:  # msgspec's errors are of this kind
            _log(method, who, ErrorCode.BAD_REQUEST)
            return _failure(ReplyError(ErrorCode.BAD_REQUEST), 400)
        finally:
            seconds.observe(time.perf_counter() - begun)
        _log(method, who, 0)
        return _json(result if method in UNWRAPPED else {"result": result}, 200)

    return endpoint


async def _read(request: Request, most: int) -> bytes | None:
    """Read the body; None if it is too long."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        return None
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _failure(error: ReplyError, status: int) -> Response:
    return _json({"error": Error(code=error.code, message=error.message)}, status)


def _json(content: object, status: int) -> Response:
    return Response(encode(content), status, media_type="application/json")


def _log(method: str, who: str, code: int) -> None:
    logger.info("api", extra={"method": method, "who": who, "code": int(code)})
