"""The public keys with which a client proves itself: read from what was registered, inline only.

A key set behind an address would let whoever registers a client make this server fetch things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jose import jwk
from jose.backends.base import Key

from auth_service.exceptions import AccountError

ALGORITHMS = ("ES256", "RS256")
MAX_JWKS_CHARACTERS = 8192
MAX_KEYS = 8
_RSA_BITS = (2048, 4096)
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS = {"ES256": ("kty", "crv", "x", "y"), "RS256": ("kty", "n", "e")}


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One public key.

    Args:
        kid: As registered; None if it has none.
        algorithm: The one it serves; it follows from the key and not from a token.
        public: Verifies.
    """

    kid: str | None
    algorithm: str
    public: Key


@lru_cache(maxsize=256)
def read_jwks(text: str) -> tuple[ClientKey, ...]:
    """Read a JSON Web Key Set (RFC 7517 section 5).

    Remembered by its text, since to build a key takes as long as to verify a signature.

    Raises:
        AccountError: It is malformed, holds a private key, or one of a kind that is not accepted.
    """
    if len(text) > MAX_JWKS_CHARACTERS:
        raise AccountError(f"a key set has at most {MAX_JWKS_CHARACTERS} characters")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise AccountError("the key set is no JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_KEYS:
        raise AccountError(f"a key set is an object whose member keys lists 1 to {MAX_KEYS} keys")
    keys = tuple(_read_key(entry) for entry in entries)
    kids = [key.kid for key in keys]
    if len(set(kids)) != len(kids):
        raise AccountError("the keys of a set need a kid each, and different ones")
    return keys


def _read_key(entry: object) -> ClientKey:
    if not isinstance(entry, dict):
        raise AccountError("a key of the set is no object")
    if entry.keys() & _PRIVATE_MEMBERS:
        raise AccountError("the key set holds a private or a symmetric key; register public ones")
    if entry.get("use", "sig") != "sig":
        raise AccountError("a key of the set is not for signatures")
    kid = entry.get("kid")
    if kid is not None and not (isinstance(kid, str) and kid):
        raise AccountError("a kid is a text")
    algorithm = _algorithm(entry)
    if entry.get("alg", algorithm) != algorithm:
        raise AccountError(f"keys of the set are for {' or '.join(ALGORITHMS)}")
    return ClientKey(kid, algorithm, _public(entry, algorithm))


def _algorithm(entry: Mapping[str, object]) -> str:
    match (entry.get("kty"), entry.get("crv")):
        case ("EC", "P-256"):
            return "ES256"
        case ("RSA", _):
            return "RS256"
        case _:
            raise AccountError("keys of the set are EC keys on P-256, or RSA keys")


def _public(entry: Mapping[str, object], algorithm: str) -> Key:
    members = {name: entry.get(name) for name in _MEMBERS[algorithm]}
    if not all(isinstance(value, str) for value in members.values()):
        raise AccountError("a key of the set lacks a member")
    try:
        key = jwk.construct(members, algorithm)
        number = load_pem_public_key(key.to_pem())
    except Exception:  # noqa: BLE001 (jose and cryptography raise errors of every kind)
        raise AccountError("a key of the set is malformed") from None
    if isinstance(number, rsa.RSAPublicKey):
        if not _RSA_BITS[0] <= number.key_size <= _RSA_BITS[1]:
            raise AccountError(f"RSA keys have {_RSA_BITS[0]} to {_RSA_BITS[1]} bits")
    elif not isinstance(number, ec.EllipticCurvePublicKey):
        raise AccountError("a key of the set is malformed")
    return key
