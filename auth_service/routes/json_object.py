"""The strict reading of a JSON body: one flat object of texts, as a page of ours sends it.

The media type is part of the protection: a foreign page's form cannot send ``application/json``,
and its script asks the browser first, which asks us.
"""

from __future__ import annotations

import json

from fastapi import Request

from auth_service.exceptions import InvalidRequest
from auth_service.routes.body import BODY_SECONDS, read_body

MEDIA_TYPE = "application/json"


async def read_object(request: Request, *, seconds: float = BODY_SECONDS) -> dict[str, str]:
    """Read the members of a request's body; those with an empty value are left out.

    Args:
        request: Its body is unread yet.
        seconds: How long the whole body may take.

    Raises:
        InvalidRequest: The body is no JSON object of texts in UTF-8, is over 16 KiB (status 413),
            comes too slowly (408), or names a member twice.
    """
    return parse_object(await read_body(request, media_type=MEDIA_TYPE, seconds=seconds))


def parse_object(body: bytes) -> dict[str, str]:
    """Decode a whole body.

    Raises:
        InvalidRequest: It is no object, a member is repeated or no text, or holds a NUL or half a
            surrogate pair.
    """
    try:
        members = json.loads(body.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON in UTF-8") from None
    if not isinstance(members, dict):
        raise InvalidRequest("the body is not a JSON object")
    for text in (*members.keys(), *members.values()):
        if not isinstance(text, str):
            raise InvalidRequest("a parameter is not a text")
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidRequest("a parameter holds what is no character")
    return {name: value for name, value in members.items() if value}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidRequest("a parameter is repeated")
    return members
