"""The bytes of a request's body: of one media type, bounded in size and in time."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from auth_service.exceptions import InvalidRequest

MAX_BODY_BYTES = 16 * 1024
# Less than a server in front allows, so that the answer is JSON and ours.
BODY_SECONDS = 6.0
# The rest of such a body is not wanted either, so the connection does not survive.
_CLOSE = {"Connection": "close"}


async def read_body(request: Request, *, media_type: str, seconds: float = BODY_SECONDS) -> bytes:
    """Read a whole body.

    Args:
        request: Its body is unread yet.
        media_type: The one that is accepted, in lower case; its charset is UTF-8.
        seconds: How long the whole body may take.

    Raises:
        InvalidRequest: The body is of another type, compressed, over 16 KiB (status 413), or comes
            too slowly (408).
    """
    _check_headers(request, media_type)
    try:
        async with asyncio.timeout(seconds):
            return await _read(request)
    except TimeoutError:
        raise InvalidRequest("the body came too slowly", status=408, headers=_CLOSE) from None
    except ClientDisconnect:
        raise InvalidRequest("the body ended early", headers=_CLOSE) from None


def _check_headers(request: Request, media_type: str) -> None:
    kinds = request.headers.getlist("content-type")
    if len(kinds) != 1 or not _is_of_type(kinds[0], media_type):
        raise InvalidRequest(f"the body must be {media_type} in UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidRequest("the body must not be compressed")
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:9]) > MAX_BODY_BYTES:
        raise _too_large()


def _is_of_type(content_type: str, media_type: str) -> bool:
    kind, *parameters = content_type.split(";")
    if kind.strip().lower() != media_type:
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() != "utf-8":
            return False
    return True


async def _read(request: Request) -> bytes:
    """Count what arrives: Content-Length is the client's word, and chunked bodies have none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> InvalidRequest:
    return InvalidRequest("the body is too large", status=413, headers=_CLOSE)
