"""What every grant type has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant, InvalidScope, UnauthorizedClient
from auth_service.issued import Issued
from auth_service.models import CLIENT_ONLY_SCOPES, Client, User, parse_scope


class Grant(Protocol):
    """One grant type."""

    async def exchange(self, *, client: Client, form: Mapping[str, str], caller: Caller) -> Issued:
        """Check what the client presents and mint tokens, or raise a RequestError."""
        ...


def require_grant(client: Client, name: str) -> None:
    """Refuse a client that is not registered for a grant type.

    Raises:
        UnauthorizedClient: It is not.
    """
    if name not in client.grants:
        raise UnauthorizedClient("this client may not use the grant type")


def requested_scopes(text: str | None, client: Client) -> frozenset[str] | None:
    """Read the ``scope`` parameter of a request for a user's token; None if it was left out.

    Raises:
        InvalidScope: It is malformed, or wider than the client may ask for.
    """
    if text is None:
        return None
    scopes = parse_scope(text)
    if scopes is None:
        raise InvalidScope("the scope is malformed")
    if not scopes <= client.scopes - CLIENT_ONLY_SCOPES:
        raise InvalidScope("the scope is wider than what this client may ask for")
    return scopes


def granted_scopes(requested: frozenset[str] | None, client: Client, user: User) -> frozenset[str]:
    """Say what a user's token gets: what was requested, else all that client and user may have.

    Raises:
        InvalidScope: That is nothing, or more than the two may have together.
    """
    allowed = (client.scopes & user.scopes) - CLIENT_ONLY_SCOPES
    granted = allowed if requested is None else requested
    if not granted or not granted <= allowed:
        raise InvalidScope("the scope is wider than what this user may have")
    return granted


def still_granted(scope: str, client: Client, user: User) -> frozenset[str]:
    """Say what is left of a scope the user agreed to a while ago; either may have got less since.

    Raises:
        InvalidGrant: Nothing.
    """
    scopes = (frozenset(scope.split()) & client.scopes & user.scopes) - CLIENT_ONLY_SCOPES
    if not scopes:
        raise InvalidGrant("what was agreed to is not granted any more")
    return scopes
