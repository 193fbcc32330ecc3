"""A backend that signs tokens with a shared secret, as Centrifugo's users have one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

SECRET = b"the secret of the tests, 32 bytes"
_DIGESTS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def encode(data: bytes) -> str:
    """Write base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(
    claims: object,
    *,
    algorithm: str = "HS256",
    secret: bytes = SECRET,
    header: dict[str, object] | None = None,
) -> str:
    """Sign claims; the header says what ``header`` says, ``algorithm`` is what is done."""
    head = {"alg": algorithm, "typ": "JWT"} if header is None else header
    signed = ".".join(encode(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), _DIGESTS[algorithm]))}"
