"""The strict reading of a form body (RFC 6749 section 3.2 and appendix B).

By hand, because the framework's form takes the last of repeated parameters, answers 422 with the
input in it, and knows no limit that is small enough.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request

from auth_service.client_assertions import ASSERTION_TYPE
from auth_service.exceptions import InvalidRequest
from auth_service.routes.body import BODY_SECONDS, MAX_BODY_BYTES, read_body

__all__ = ["CLIENT_FIELDS", "MAX_BODY_BYTES", "MAX_FIELDS", "MEDIA_TYPE", "parse_form", "read_form"]

MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 32
#: How clients prove themselves in a form, for OpenAPI.
CLIENT_FIELDS: dict[str, dict[str, Any]] = {
    "client_id": {"type": "string"},
    "client_secret": {"type": "string", "format": "password"},
    "client_assertion_type": {"type": "string", "enum": [ASSERTION_TYPE]},
    "client_assertion": {"type": "string", "description": "a JWT of RFC 7523"},
}


async def read_form(request: Request, *, seconds: float = BODY_SECONDS) -> dict[str, str]:
    """Read the parameters of a request's body; those with an empty value are left out.

    Args:
        request: Its body is unread yet.
        seconds: How long the whole body may take.

    Raises:
        InvalidRequest: The body is no form in UTF-8, is over 16 KiB (status 413), comes too slowly
            (408), or repeats a parameter.
    """
    return parse_form(await read_body(request, media_type=MEDIA_TYPE, seconds=seconds))


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


def _decode(raw: bytes) -> str:
    try:
        # Strict UTF-8 has neither surrogates nor overlong forms.
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    if "\0" in text:
        raise InvalidRequest("a parameter holds a NUL character")
    return text
