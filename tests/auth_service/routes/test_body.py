"""The bytes of a body, whatever they mean; what a form needs besides is in ``test_form.py``."""

from __future__ import annotations

import pytest
from fastapi import Request
from starlette.types import Message

from auth_service.exceptions import InvalidRequest
from auth_service.routes.body import MAX_BODY_BYTES, read_body


def _request(content_type: str, *chunks: bytes) -> Request:
    """Make a request whose body comes in chunks."""
    waiting = list(chunks)

    async def receive() -> Message:
        chunk = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def _read(content_type: str, *chunks: bytes) -> bytes:
    return await read_body(_request(content_type, *chunks), media_type="application/json")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", 'application/json; charset="UTF-8"; version=1'],
)
async def test_the_type_may_be_spelled_as_one_likes(content_type: str) -> None:
    """RFC 9110 section 8.3.1: in any case, and with parameters."""
    assert await _read(content_type, b"{", b"}") == b"{}"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/plain; application/json",
        "application/jsonp",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
    ],
)
async def test_another_type_is_refused_unread(content_type: str) -> None:
    """What a foreign page's form can send is among them."""
    with pytest.raises(InvalidRequest, match="application/json"):
        await _read(content_type, b"{}")


async def test_the_bound_is_counted_over_all_chunks() -> None:
    """Content-Length is the client's word, and here there is none."""
    half = b"x" * (MAX_BODY_BYTES // 2)

    assert await _read("application/json", half, half) == half * 2
    with pytest.raises(InvalidRequest) as caught:
        await _read("application/json", half, half, b"x")
    assert caught.value.status == 413
