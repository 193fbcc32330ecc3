"""What a client takes home."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issued:
    """A successful answer of the token endpoint (RFC 6749 section 5.1).

    Args:
        access_token: The token's text.
        expires_in: Seconds it lives.
        scope: What was granted, words separated by blanks.
        refresh_token: What to come back with; None where the session has none.
        refresh_expires_in: Seconds that one lives unless it is used.
    """

    access_token: str
    expires_in: int
    scope: str
    refresh_token: str | None = None
    refresh_expires_in: int = 0
