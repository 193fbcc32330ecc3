"""Access tokens of every bad kind, signed by the service's own keys where that makes them worse."""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jose import jwk
from jose.backends.base import Key

LEFT_OUT: Any = ...
"""As the value of a member: it is not there at all."""


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Forge:
    """Whoever holds the service's private keys: one of each algorithm.

    Args:
        directory: Where the service finds them at its first start; made here.
        issuer: The ``iss`` of its tokens.
    """

    def __init__(self, directory: Path, issuer: str) -> None:
        self.issuer = issuer
        self.private: dict[str, Any] = {
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "RS256": rsa.generate_private_key(65537, 2048),
        }
        self.keys: dict[str, Key] = {
            algorithm: jwk.construct(key, algorithm) for algorithm, key in self.private.items()
        }
        self.stranger: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]  # any key object will do
        #: Filled in once the service publishes them.
        self.kids: dict[str, str] = {}
        directory.mkdir(mode=0o700)
        for algorithm, key in self.private.items():
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            file = directory / f"signing-{algorithm.lower()}.pem"
            file.touch(mode=0o600)
            file.write_bytes(pem)

    def header(self, algorithm: str = "ES256", /, **changes: object) -> dict[str, Any]:
        """Return a good header with changes."""
        return _without({"alg": algorithm, "typ": "at+jwt", "kid": self.kids[algorithm]} | changes)

    def claims(self, **changes: object) -> dict[str, Any]:
        """Return good claims with changes."""
        now = int(time.time())
        good = {
            "iss": self.issuer,
            "aud": ["drawbridge"],
            "exp": now + 600,
            "iat": now,
            "auth_time": now,
            "jti": secrets.token_urlsafe(8),
            "sid": "session",
            "sub": "forged",
            "client_id": "chat",
            "scope": "connect",
        }
        return _without(good | changes)

    def sign(self, header: object, payload: object, key: Key | None = None) -> str:
        """Return a JWS of any header and payload; text and bytes are taken as they are."""
        signed = f"{encode(_bytes(header))}.{encode(_bytes(payload))}"
        return f"{signed}.{encode((key or self.keys['ES256']).sign(signed.encode()))}"

    def token(self, **changes: object) -> str:
        """Return a token with these claims changed, and a good signature."""
        return self.sign(self.header(), self.claims(**changes))

    def headed(self, **changes: object) -> str:
        """Return a token with these members of the header changed, and a good signature."""
        return self.sign(self.header(**changes), self.claims())

    def client_jwks(self) -> str:
        """Return the public key of the client that signs, as it is registered."""
        public = self.stranger.public_key().to_dict()
        return json.dumps({"keys": [public | {"kid": "c1", "alg": "ES256", "use": "sig"}]})

    def assertion(self, header: dict[str, Any] | None = None, **changes: object) -> str:
        """Return what the client that signs proves itself with (RFC 7523), with changes."""
        now = int(time.time())
        claims = {
            "iss": "signer",
            "sub": "signer",
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(8),
        }
        fields = _without({"alg": "ES256", "kid": "c1", "typ": "JWT"} | (header or {}))
        return self.sign(fields, _without(claims | changes), self.stranger)

    def published(self, algorithm: str) -> list[bytes]:
        """Return the public key in every spelling that might be mistaken for a secret."""
        public = self.private[algorithm].public_key()
        members = self.keys[algorithm].public_key().to_dict() | {"kid": self.kids[algorithm]}
        return [
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            json.dumps(members).encode(),
        ]


def _bytes(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    return (part if isinstance(part, str) else json.dumps(part)).encode()


def _without(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not LEFT_OUT}
