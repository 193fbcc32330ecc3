"""Assertions of clients, and everything that is no good one (O20)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, strategies as st
from jose import jwk, jws

from auth_service.client_assertions import check, read
from auth_service.client_keys import ClientKey
from auth_service.exceptions import InvalidToken

NOW = 1_900_000_000
ISSUER = "https://auth.example"
_PRIVATE = ec.generate_private_key(ec.SECP256R1())
PEM = _PRIVATE.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
KEY = ClientKey("k1", "ES256", jwk.construct(PEM, "ES256").public_key())
GOOD: dict[str, object] = {
    "iss": "bot",
    "sub": "bot",
    "aud": ISSUER,
    "jti": "j1",
    "iat": NOW,
    "exp": NOW + 60,
}


def _signed(header: dict[str, object] | None = None, **changes: object) -> str:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return jws.sign(
        json.dumps(claims).encode(), PEM, headers=header or {"kid": "k1"}, algorithm="ES256"
    )


def _check(text: str) -> str:
    return check(read(text), keys=[KEY], issuer=ISSUER, now=NOW).jti_hash


def test_a_good_assertion_names_its_client() -> None:
    """And the same jti is the same hash, whatever else is in it."""
    assert read(_signed()).client_id == "bot"
    assert _check(_signed()) == _check(_signed(exp=NOW + 90))


def test_a_key_is_found_without_an_id_if_it_is_the_only_one() -> None:
    """Some libraries send no kid."""
    assert _check(_signed({"typ": "JWT"}))
    with pytest.raises(InvalidToken):
        check(read(_signed({"typ": "JWT"})), keys=[KEY, KEY], issuer=ISSUER, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [ISSUER]},
        {"aud": f"{ISSUER}/token"},
        {"aud": ...},
        {"iss": "other"},
        {"iss": ...},
        {"exp": NOW + 3600},
        {"exp": NOW - 6},
        {"exp": str(NOW + 60)},
        {"exp": ...},
        {"iat": NOW + 60},
        {"nbf": NOW + 60},
        {"jti": ...},
        {"jti": ""},
        {"jti": "x" * 256},
        {"sub": ...},
        {"sub": 1},
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(changes: dict[str, object]) -> None:
    """The audience is the issuer and nothing beside it; five minutes at most; an id."""
    with pytest.raises(InvalidToken):
        _check(_signed(None, **changes))


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"kid": "k2"}, {"kid": ["k1"]}])
def test_an_unexpected_header_is_refused(header: dict[str, object]) -> None:
    """An access token is no assertion."""
    with pytest.raises(InvalidToken):
        _check(_signed(header))


def _with_algorithm(name: str) -> str:
    public = json.dumps(KEY.public.to_dict(), default=lambda value: value.decode())
    return jws.sign(json.dumps(GOOD).encode(), public, headers={"kid": "k1"}, algorithm=name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _with_algorithm("HS256"),
        lambda: ".".join(["eyJhbGciOiJub25lIiwia2lkIjoiazEifQ", _signed().split(".")[1], "A" * 86]),
        lambda: _signed()[:-4] + "AAAA",
    ],
)
def test_another_signature_is_refused(make: Callable[[], str]) -> None:
    """The public key as a secret, none, and a wrong one."""
    with pytest.raises(InvalidToken):
        _check(make())


@given(st.text(max_size=200))
def test_any_text_is_refused_in_one_way(text: str) -> None:
    """Never another error."""
    with pytest.raises(InvalidToken):
        read(text)
