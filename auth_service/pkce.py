"""Proof Key for Code Exchange, S256 only (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

METHOD = "S256"
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
# SHA-256 in base64url: 43 characters, of which the last one holds four bits.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


def is_challenge(text: str) -> bool:
    """Say whether a text can be a challenge of method S256."""
    return _CHALLENGE.fullmatch(text) is not None


def is_verifier(text: str) -> bool:
    """Say whether a text can be a verifier."""
    return _VERIFIER.fullmatch(text) is not None


def proves(verifier: str, challenge: str) -> bool:
    """Say whether a verifier is the one that a challenge was made from."""
    if not is_verifier(verifier):
        return False
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(made, challenge)
