"""The strict reading of a JSON body."""

from __future__ import annotations

import json

import httpx2
import pytest
from hypothesis import given, strategies as st

from auth_service.exceptions import InvalidRequest
from auth_service.routes.json_object import parse_object


def test_members_with_a_value_are_read() -> None:
    """Empty ones are left out, as in forms."""
    assert parse_object(b'{"username": "\\u00e9 \xc3\xa9", "password": ""}') == {"username": "é é"}
    assert parse_object(b" {} ") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"a": 1}',
        b'{"a": null}',
        b'{"a": ["x"]}',
        b'{"a": {"b": "x"}}',
        b'{"a": "x", "a": "y"}',
        b'{"a": "x", "\\u0061": "y"}',
        b'{"a": "x\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"\\udc00": "x"}',
        b'{"a": "x"} {}',
        b'{"a": "x",}',
        b"{'a': 'x'}",
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b'\xef\xbb\xbf{"a": "x"}',
        '{"a": "x"}'.encode("utf-16"),
        b"[" * 16_000,
        b'{"a":' * 3000,
    ],
    ids=lambda body: str(body[:20]),
)
def test_anything_else_is_refused(body: bytes) -> None:
    """Doubled, nested, not text, not UTF-8, not JSON (RFC 8259)."""
    with pytest.raises(InvalidRequest):
        parse_object(body)


@given(st.binary(max_size=200) | st.text(max_size=100).map(json.dumps).map(str.encode))
def test_no_body_breaks_it(body: bytes) -> None:
    """Read or refused, never another error."""
    try:
        members = parse_object(body)
    except InvalidRequest:
        return
    assert all(members.values())


async def test_the_refusal_does_not_repeat_the_body(http: httpx2.AsyncClient) -> None:
    """It may be a password."""
    answer = await http.post(
        "/session",
        content=b'{"password": "reflected", "password": 1}',
        headers={"Origin": "https://localhost:8443", "Content-Type": "application/json"},
    )

    assert answer.status_code == 400
    assert "reflected" not in answer.text
