"""The strict reading of signed tokens; `test_tokens` has what is refused in access tokens."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, strategies as st
from jose import jwk, jws

from auth_service.compact_jws import claimed_text, claimed_time, parse
from auth_service.exceptions import InvalidToken

_PRIVATE = ec.generate_private_key(ec.SECP256R1())
PEM = _PRIVATE.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
KEY = jwk.construct(PEM, "ES256")
TOKEN = jws.sign({"sub": "x"}, PEM.decode(), headers={"typ": "at+jwt"}, algorithm="ES256")


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_a_good_token_is_read_and_verified() -> None:
    """Header, claims, signature."""
    found = parse(TOKEN, types=("at+jwt",))

    found.verify(KEY.public_key(), "ES256")
    assert found.claims() == {"sub": "x"}


def test_the_algorithm_is_the_keys() -> None:
    """Not the header's word (RFC 8725 section 3.1)."""
    with pytest.raises(InvalidToken):
        parse(TOKEN, types=("at+jwt",)).verify(KEY.public_key(), "RS256")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256", "typ": "JWT"},
        {"alg": "ES256"},
        {"alg": "ES256", "typ": ["at+jwt"]},
        {"alg": "ES256", "typ": "at+jwt", "crit": []},
        {"alg": "ES256", "typ": "at+jwt", "jwk": {}},
    ],
)
def test_an_unexpected_header_is_refused(header: dict[str, object]) -> None:
    """Another kind of token, or one that wants something understood."""
    _, payload, signature = TOKEN.split(".")

    with pytest.raises(InvalidToken):
        parse(f"{_encoded(json.dumps(header).encode())}.{payload}.{signature}", types=("at+jwt",))


@given(st.text(alphabet="eyJhbGciOiJIUzI1NiJ9._-", max_size=120))
def test_any_text_is_refused_in_a_known_way(text: str) -> None:
    """InvalidToken, or a ValueError of the JSON parser."""
    with pytest.raises((InvalidToken, ValueError)):
        parse(text, types=("at+jwt",))


def test_claims_are_of_their_kind() -> None:
    """True is no time, and an empty text is none."""
    claims: dict[str, object] = {"a": True, "b": "", "c": 1.5, "d": -1, "e": "x" * 256}

    for name in claims:
        with pytest.raises(InvalidToken):
            claimed_time(claims, name)
        with pytest.raises(InvalidToken):
            claimed_text(claims, name)
