"""What the endpoints' tests share: tokens by a key of their own, and a client at the door."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from types import ModuleType

from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jwt
from jose.backends.base import Key
from starlette.testclient import TestClient

from ws_gateway.bearer import Verifier

ORIGIN = "https://localhost:8443"
AUDIENCE = "drawbridge"
KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]


def mint(
    issuer: str = ORIGIN, audience: str = AUDIENCE, seconds: float = 600, **claims: object
) -> str:
    """Return a token that is good for so long."""
    now = int(time.time())
    content: dict[str, object] = {
        "iss": issuer,
        "aud": [audience],
        "exp": now + int(seconds),
        "iat": now - 60,
        "jti": "token-1",
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect",
    }
    headers = {"typ": "at+jwt", "kid": "k"}
    return jwt.encode(content | claims, KEY, algorithm="ES256", headers=headers)


def header(**claims: object) -> dict[str, str]:
    """Return the header of a good token."""
    return {"Authorization": f"Bearer {mint(**claims)}"}  # type: ignore[arg-type]


async def publish(url: str) -> bytes:
    """Answer with the issuer's key set."""
    assert url == "http://127.0.0.1:8001/.well-known/jwks.json"
    return json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()


@contextlib.contextmanager
def client_of(example: ModuleType) -> Iterator[TestClient]:
    """Open an example's client; its verifier is its own, but for the network."""
    state = example.app.state
    own: Verifier = state.verifier
    state.verifier = Verifier(own.issuers, origins=own.origins, fetch=publish)
    try:
        with TestClient(example.app) as client:
            yield client
    finally:
        state.verifier = own
