"""An issuer of access tokens that signs good ones and any others, its keys and its clock."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk
from jose.backends.base import Key

from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import InvalidToken
from ws_gateway.verifier import Issuer, Verifier

ISSUER = Issuer(
    issuer="https://issuer.example",
    jwks_url="https://issuer.example/jwks.json",
    audience="drawbridge",
)
NOW = 1_700_000_000

EC_PRIVATE = ec.generate_private_key(ec.SECP256R1())
RSA_PRIVATE = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Key] = {
    "ec": jwk.construct(EC_PRIVATE, "ES256"),  # type: ignore[arg-type]  # any key object will do
    "rsa": jwk.construct(RSA_PRIVATE, "RS256"),  # type: ignore[arg-type]
    "encryption": jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256"),  # type: ignore[arg-type]
    "pending": jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256"),  # type: ignore[arg-type]
}


def public(kid: str, use: str = "sig") -> dict[str, Any]:
    """Return a key as the issuer publishes it."""
    return KEYS[kid].public_key().to_dict() | {"kid": kid, "use": use}


PUBLISHED = [public("ec"), public("rsa"), public("encryption", "enc")]


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(header: object, payload: object, kid: str = "ec") -> str:
    """Return a JWS of any header and payload; text and bytes are taken as they are."""
    parts = []
    for part in (header, payload):
        text = part if isinstance(part, str | bytes) else json.dumps(part)
        parts.append(encode(text.encode() if isinstance(text, str) else text))
    signed = ".".join(parts)
    return f"{signed}.{encode(KEYS[kid].sign(signed.encode()))}"


def header(**changes: object) -> dict[str, Any]:
    """Return a good header with changes; a member changed to ``...`` is left out."""
    return without_dots({"alg": "ES256", "typ": "at+jwt", "kid": "ec"} | changes)


def claims(**changes: object) -> dict[str, Any]:
    """Return good claims with changes; a claim changed to ``...`` is left out."""
    good = {
        "iss": ISSUER.issuer,
        "aud": ["drawbridge"],
        "exp": NOW + 600,
        "iat": NOW,
        "jti": "token-1",
        "sid": "session-1",
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect api",
    }
    return without_dots(good | changes)


def without_dots(members: dict[str, Any]) -> dict[str, Any]:
    """Leave out the members that are ``...``."""
    return {name: value for name, value in members.items() if value is not ...}


def mint(**changes: object) -> str:
    """Return a token signed by the issuer, with these claims changed."""
    return sign(header(), claims(**changes))


class Publisher:
    """The issuers' key sets; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = PUBLISHED
        self.error: Exception | None = None
        self.fetches = 0

    async def __call__(self, _url: str) -> bytes:
        """Answer with the keys published now."""
        self.fetches += 1
        if self.error is not None:
            raise self.error
        return json.dumps({"keys": self.keys}).encode()


class Clock:
    """The time of day and the monotonic clock, moved by hand together."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        """Return the time it was moved to."""
        return self.now


async def accepts(verifier: Verifier, token: str) -> bool:
    """Tell whether the token is accepted; a refusal is raised."""
    return isinstance(await verifier.verify(token), Credentials)


async def reason(verifier: Verifier, token: str) -> str:
    """Return the word of the refusal."""
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token)
    return caught.value.reason
