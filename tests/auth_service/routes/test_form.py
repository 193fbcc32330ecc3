"""The strict form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote, urlencode

import pytest
from fastapi import Request
from hypothesis import given, strategies as st
from starlette.types import Message

from auth_service.exceptions import InvalidRequest
from auth_service.routes.form import MAX_BODY_BYTES, parse_form, read_form

FORM = (b"content-type", b"application/x-www-form-urlencoded")


def _request(
    headers: Sequence[tuple[bytes, bytes]], chunks: Sequence[bytes] = (b"a=1",), *, end: bool = True
) -> tuple[Request, list[Message]]:
    """Return a request and the messages of its body that nobody has read yet."""
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": not end or number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    return Request({"type": "http", "headers": list(headers)}, receive), messages


async def _status(request: Request, seconds: float = 10) -> int:
    with pytest.raises(InvalidRequest) as caught:
        await read_form(request, seconds=seconds)
    return caught.value.status


def test_fields_are_decoded_once() -> None:
    """Plus is a blank, percent sequences are UTF-8, a lone percent sign is itself."""
    assert parse_form(b"a=b+c&d=%C3%A9%2B%26&e=100%&f=x=y&&") == {
        "a": "b c",
        "d": "\u00e9+&",
        "e": "100%",
        "f": "x=y",
    }


def test_an_empty_value_counts_as_none() -> None:
    """RFC 6749 section 3.2."""
    assert parse_form(b"scope=&grant_type=password&x") == {"grant_type": "password"}


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=2",
        b"a=&a=1",
        b"a=1&%61=2",
        b"a=%ff",
        b"a=\xff",
        b"%ED%A0%80=1",
        b"a=%ED%A0%80",
        b"a=%C0%AF",
        b"a=%00",
        b"a=\0",
        b"&".join(b"f%d=1" % number for number in range(33)),
        b"&" * 5000,
    ],
)
def test_what_could_be_read_two_ways_is_refused(body: bytes) -> None:
    """Repeated names, invalid UTF-8, surrogates, overlong forms, NUL, too many fields."""
    with pytest.raises(InvalidRequest):
        parse_form(body)


@given(st.binary(max_size=300))
def test_any_bytes_are_fields_or_invalid(body: bytes) -> None:
    """No other exception; what comes out is clean."""
    try:
        fields = parse_form(body)
    except InvalidRequest:
        return
    for text in (*fields, *fields.values()):
        assert "\0" not in text
        text.encode("utf-8")
    assert all(fields.values())


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
        max_size=10,
    )
)
def test_what_a_client_encodes_is_what_is_read(fields: dict[str, str]) -> None:
    """Both ways of writing a blank."""
    assert parse_form(urlencode(fields).encode()) == fields
    assert parse_form(urlencode(fields, quote_via=quote).encode()) == fields


@pytest.mark.parametrize(
    "kind",
    [
        b"application/x-www-form-urlencoded",
        b"Application/X-WWW-Form-URLencoded ; charset=UTF-8",
        b'application/x-www-form-urlencoded;charset="utf-8"',
    ],
)
async def test_a_form_is_read(kind: bytes) -> None:
    """With or without the only charset there is."""
    request, _ = _request([(b"content-type", kind)], [b"a=", b"1&b", b"=2"])

    assert await read_form(request) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"multipart/form-data; boundary=x")],
        [(b"content-type", b"application/x-www-form-urlencoded; charset=latin-1")],
        [(b"content-type", b"application/x-www-form-urlencoded, application/json")],
        [FORM, (b"content-type", b"application/json")],
        [FORM, (b"content-encoding", b"gzip")],
    ],
)
async def test_another_kind_of_body_is_refused_unread(headers: list[tuple[bytes, bytes]]) -> None:
    """RFC 6749 appendix B."""
    request, unread = _request(headers)

    assert await _status(request) == 400
    assert len(unread) == 1


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    """Not a byte of it is awaited."""
    for length in (b"16385", b"9" * 5000):
        request, unread = _request([FORM, (b"content-length", length)])
        assert await _status(request) == 413
        assert len(unread) == 1


async def test_received_bytes_are_counted() -> None:
    """A chunked body has no length; reading stops with the chunk that crosses the limit."""
    request, unread = _request([FORM], [b"x" * 8000] * 100)

    assert await _status(request) == 413
    assert len(unread) == 97


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    """The bound is inside."""
    request, _ = _request([FORM], [b"a=" + b"x" * (MAX_BODY_BYTES - 2)])

    assert len((await read_form(request))["a"]) == MAX_BODY_BYTES - 2


async def test_a_body_that_never_ends_is_given_up() -> None:
    """408, and the connection is closed."""
    request, _ = _request([FORM], [b"a=1"], end=False)

    assert await _status(request, seconds=0.01) == 408


async def test_a_client_that_goes_in_the_middle_is_no_failure_of_ours() -> None:
    """No traceback for a lost connection."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    assert await _status(Request({"type": "http", "headers": [FORM]}, receive)) == 400
