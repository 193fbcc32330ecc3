"""The strict reading of a form body (RFC 6749 section 3.2 and appendix B).

By hand, because the framework's form takes the last of repeated parameters, answers 422 with the
input in it, and knows no limit that is small enough.
"""

from __future__ import annotations

import asyncio
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.requests import ClientDisconnect

from auth_service.exceptions import InvalidRequest

MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_BODY_BYTES = 16 * 1024
MAX_FIELDS = 32
BODY_SECONDS = 10.0
# The rest of such a body is not wanted either, so the connection does not survive.
_CLOSE = {"Connection": "close"}


async def read_form(request: Request, *, seconds: float = BODY_SECONDS) -> dict[str, str]:
    """Read the parameters of a request's body; those with an empty value are left out.

    Args:
        request: Its body is unread yet.
        seconds: How long the whole body may take.

    Raises:
        InvalidRequest: The body is no form in UTF-8, is over 16 KiB (status 413), comes too slowly
            (408), or repeats a parameter.
    """
    _check_headers(request)
    try:
        async with asyncio.timeout(seconds):
            body = await _read_body(request)
    except TimeoutError:
        raise InvalidRequest("the body came too slowly", status=408, headers=_CLOSE) from None
    except ClientDisconnect:
        raise InvalidRequest("the body ended early", headers=_CLOSE) from None
    return parse_form(body)


def parse_form(body: bytes) -> dict[str, str]:
    """Decode a whole body.

    A percent sign that no two hexadecimal digits follow stands for itself, as in browsers' forms.

    Raises:
        InvalidRequest: Repeated parameter, too many of them, invalid UTF-8 or a NUL.
    """
    fields: dict[str, str] = {}
    # One more than allowed is enough to know.
    pairs = body.split(b"&", MAX_FIELDS)
    if len(pairs) > MAX_FIELDS:
        raise InvalidRequest("too many parameters")
    for pair in pairs:
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        name, value = _decode(raw_name), _decode(raw_value)
        if name in fields:
            raise InvalidRequest("a parameter is repeated")
        fields[name] = value
    return {name: value for name, value in fields.items() if value}


def _check_headers(request: Request) -> None:
    kinds = request.headers.getlist("content-type")
    if len(kinds) != 1 or not _is_form(kinds[0]):
        raise InvalidRequest(f"the body must be {MEDIA_TYPE} in UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidRequest("the body must not be compressed")
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:9]) > MAX_BODY_BYTES:
        raise _too_large()


def _is_form(content_type: str) -> bool:
    kind, *parameters = content_type.split(";")
    if kind.strip().lower() != MEDIA_TYPE:
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() != "utf-8":
            return False
    return True


async def _read_body(request: Request) -> bytes:
    """Count what arrives: Content-Length is the client's word, and chunked bodies have none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> InvalidRequest:
    return InvalidRequest("the body is too large", status=413, headers=_CLOSE)


def _decode(raw: bytes) -> str:
    try:
        # Strict UTF-8 has neither surrogates nor overlong forms.
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    if "\0" in text:
        raise InvalidRequest("a parameter holds a NUL character")
    return text
