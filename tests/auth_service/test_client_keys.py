"""Registered keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk

from auth_service.client_keys import read_jwks
from auth_service.exceptions import AccountError


def _jwk(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: str) -> dict[str, Any]:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    members = jwk.construct(pem, algorithm).to_dict()
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in members.items()
    }


EC = _jwk(ec.generate_private_key(ec.SECP256R1()), "ES256")
RSA = _jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256")


def _set(*keys: object) -> str:
    return json.dumps({"keys": keys})


def test_a_set_may_hold_both_kinds() -> None:
    """Each key serves one algorithm, which follows from its kind."""
    first, second = read_jwks(_set({**EC, "kid": "a"}, {**RSA, "kid": "b", "use": "sig"}))

    assert (first.kid, first.algorithm) == ("a", "ES256")
    assert (second.kid, second.algorithm) == ("b", "RS256")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"keys":{}}',
        _set(),
        _set("key"),
        _set(*[{**EC, "kid": str(number)} for number in range(9)]),
        _set(EC, EC),
        _set({**EC, "d": "secret"}),
        _set({"kty": "oct", "k": "c2VjcmV0"}),
        _set({**EC, "use": "enc"}),
        _set({**EC, "alg": "ES384"}),
        _set({**EC, "crv": "P-384"}),
        _set({**EC, "kid": 1}),
        _set({**EC, "x": 1}),
        _set({**EC, "x": EC["y"], "y": EC["x"]}),
        _set({**RSA, "n": "AQAB"}),
        _set({**RSA, "alg": "PS256"}),
    ],
)
def test_a_bad_set_cannot_be_registered(text: str) -> None:
    """One sentence for the operator, whatever is wrong; above all if it is a private key."""
    with pytest.raises(AccountError):
        read_jwks(text)
