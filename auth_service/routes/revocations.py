"""``GET /revocations``: the revocation log as a long poll, for gateways without a shared Redis.

On the internal listener only, for whoever holds the key.
"""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from auth_service.exceptions import BearerError, InvalidRequest
from auth_service.revocation_log import RevocationLog
from auth_service.routes.errors import describe

MAX_WAIT_SECONDS = 30
DEFAULT_WAIT_SECONDS = 25
_MAX_DIGITS = 18
_MAX_LOG_CHARACTERS = 64

# By hand: parameters of the function would make the framework promise its 422.
_PARAMETERS = [
    {
        "name": "since",
        "in": "query",
        "description": "the last number that the reader knows",
        "schema": {"type": "integer", "minimum": 0, "default": 0},
    },
    {
        "name": "wait",
        "in": "query",
        "description": "for how many seconds, if there is nothing new",
        "schema": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_WAIT_SECONDS,
            "default": DEFAULT_WAIT_SECONDS,
        },
    },
    {
        "name": "log",
        "in": "query",
        "description": "the log's id as the reader knows it",
        "schema": {"type": "string", "maxLength": _MAX_LOG_CHARACTERS},
    },
]


class Entry(BaseModel):
    """One entry of the log."""

    seq: int
    kind: str
    value: str
    sub: str
    before: int
    until: int
    reason: str


class RevocationsAnswer(BaseModel):
    """What is new; there may be more below ``top``."""

    log: str
    top: int
    entries: list[Entry]


def revocations_router(*, log: RevocationLog, key: str) -> APIRouter:
    """Build the route.

    Args:
        log: What is read.
        key: What the reader presents as a bearer token.
    """
    router = APIRouter()

    @router.get(
        "/revocations",
        summary="What has been revoked",
        response_model=None,
        responses={
            200: {"model": RevocationsAnswer, "description": "At most 1,000 entries, in order."},
            **describe(
                {
                    400: "invalid_request: a parameter is malformed",
                    401: "invalid_token: not the key",
                    503: "without database, or stopping; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def revocations(request: Request) -> JSONResponse:
        """Return what is above `since`, as soon as there is something, or nothing after `wait`."""
        _check_key(request.headers.getlist("authorization"), key)
        since = _number(request, "since", 0, None)
        wait = _number(request, "wait", DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS)
        known = request.query_params.get("log")
        if known is not None and len(known) > _MAX_LOG_CHARACTERS:
            raise InvalidRequest("log is malformed")
        news = await log.read(since, known=known, seconds=wait)
        entries: list[dict[str, Any]] = [
            {
                "seq": seq,
                "kind": entry.kind,
                "value": entry.value,
                "sub": entry.sub,
                "before": entry.before,
                "until": entry.until,
                "reason": entry.reason,
            }
            for seq, entry in news.entries
        ]
        return JSONResponse({"log": news.log, "top": news.top, "entries": entries})

    return router


def _check_key(authorization: list[str], key: str) -> None:
    scheme, _, presented = (authorization[0] if len(authorization) == 1 else "").partition(" ")
    right = hmac.compare_digest(presented.strip(" ").encode(), key.encode())
    if scheme.lower() != "bearer" or not right:
        raise BearerError(401, "invalid_token", "the key is wrong or missing")


def _number(request: Request, name: str, default: int, highest: int | None) -> int:
    """Read a whole number; the last of several would be what a proxy did not see."""
    given = request.query_params.getlist(name)
    if not given:
        return default
    text = given[0]
    if len(given) > 1 or not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequest(f"{name} is malformed")
    number = int(text)
    if highest is not None and number > highest:
        raise InvalidRequest(f"{name} is too large")
    return number
