"""Tokens that a form of ours carries, and nobody else's can (OWASP: signed double submit).

The browser gets a random value in a cookie, and the form a keyed hash of that value. Another site
can neither read the one nor make the other; no table is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

_COOKIE = re.compile(r"[A-Za-z0-9_-]{22}")


class FormTokens:
    """Makes and checks the tokens.

    Args:
        keys: Secrets of 32 bytes: the first one makes, all of them check.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def cookie(self, present: str | None) -> str:
        """Return what the browser's cookie holds: what it has, else a fresh random value."""
        if present is not None and _COOKIE.fullmatch(present) is not None:
            return present
        return secrets.token_urlsafe(16)

    def token(self, cookie: str) -> str:
        """Return what the form carries."""
        return _hash(self._keys[0], cookie)

    def agrees(self, token: str | None, cookie: str | None) -> bool:
        """Say whether a form was made for the browser that sends it."""
        if token is None or cookie is None or _COOKIE.fullmatch(cookie) is None:
            return False
        presented = token.encode("utf-8", "surrogatepass")
        made = [_hash(key, cookie).encode() for key in self._keys]
        return any([hmac.compare_digest(presented, one) for one in made])  # noqa: C419 (all of them)


def _hash(key: bytes, cookie: str) -> str:
    digest = hmac.digest(key, cookie.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
