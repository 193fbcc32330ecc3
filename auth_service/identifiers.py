"""Random ids of what the service keeps and operators type: users, sessions, tokens."""

from __future__ import annotations

import secrets

_BYTES = 16


def new_identifier() -> str:
    """Make an id of 128 random bits, less the share of a sixty-fourth that begin with ``-``.

    Those would be taken for options where an operator types an id after a command.

    Returns:
        22 characters of base64url.
    """
    while (made := secrets.token_urlsafe(_BYTES)).startswith("-"):
        pass
    return made
