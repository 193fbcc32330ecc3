"""Claims by their type and their limits; those of access tokens are tested with the verifier."""

from __future__ import annotations

import base64
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ws_gateway.claims import read_grant, read_moment, read_payload
from ws_gateway.credentials import SubscriptionGrant
from ws_gateway.exceptions import InvalidToken


def b64(text: bytes) -> str:
    """Write base64 as the claims have it."""
    return base64.b64encode(text).decode()


@pytest.mark.parametrize("value", [0, 1, 1_900_000_000, 1_900_000_000.5])
def test_moment_is_a_number_of_seconds(value: float) -> None:
    """RFC 7519 allows fractions."""
    assert read_moment({"exp": value}, "exp") == value


@pytest.mark.parametrize("value", [None, "1", True, -1, 2**53, nan, inf, [1], {}])
def test_anything_else_is_no_moment(value: object) -> None:
    """The refusal names the claim."""
    with pytest.raises(InvalidToken, match=r"^exp$"):
        read_moment({"exp": value}, "exp")


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({}, None),
        ({"info": None}, None),
        ({"info": {"name": "é", "n": 1.5}}, '{"name":"é","n":1.5}'),
        ({"info": "text"}, '"text"'),
        ({"info": []}, "[]"),
        ({"info": False}, "false"),
        ({"b64info": b64(b'{ "a" : 1 }')}, '{"a":1}'),
        ({"b64info": b64(b"7"), "info": "other"}, "7"),
        ({"b64info": b64(b"null")}, None),
    ],
)
def test_payload_is_json_or_base64_of_it(claims: dict[str, Any], text: str | None) -> None:
    """Compact, ready to be copied."""
    assert read_payload(claims, "info") == (None if text is None else text.encode())


@pytest.mark.parametrize(
    "claims",
    [
        {"b64info": b64(b"\xff\x00")},
        {"b64info": b64(b"not json")},
        {"b64info": "*"},
        {"b64info": 7},
        {"b64info": b64(b"[" * 5000)},
        {"b64info": b64(b'{"a":1,"a":2}')},
        {"info": float("inf")},
        {"info": "\ud800"},
    ],
)
def test_what_is_no_json_is_refused(claims: dict[str, Any]) -> None:
    """It would break the frames of whoever is shown it."""
    with pytest.raises(InvalidToken, match="info"):
        read_payload(claims, "info")


def test_grant_has_all_that_is_said_of_a_subscription() -> None:
    """Section 16.1; an option that cannot be overridden is passed over."""
    claims = {
        "info": {"a": 1},
        "b64data": b64(b"[1]"),
        "override": {
            "presence": {"value": True},
            "force_recovery": {"value": False},
            "join_leave": None,
            "history_size": {"value": 7},
        },
    }

    assert read_grant(claims, expires_at=5) == SubscriptionGrant(
        info=b'{"a":1}',
        data=b"[1]",
        override=(("presence", True), ("force_recovery", False)),
        expires_at=5,
    )
    assert read_grant({}, expires_at=inf) == SubscriptionGrant()


@pytest.mark.parametrize(
    "override", [[], "x", {"presence": True}, {"presence": {}}, {"presence": {"value": 1}}]
)
def test_override_has_its_form(override: object) -> None:
    """A wish that is not understood is not silently none."""
    with pytest.raises(InvalidToken, match="override"):
        read_grant({"override": override}, expires_at=inf)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["info", "b64info", "data", "b64data", "override"]), JSON))
def test_any_claims_are_read_or_refused(claims: dict[str, Any]) -> None:
    """Whatever a backend writes."""
    try:
        grant = read_grant(claims, expires_at=inf)
    except InvalidToken:
        return
    assert grant.info is None or grant.info.decode()
