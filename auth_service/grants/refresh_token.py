"""Refreshing a session (RFC 6749 section 6)."""

from __future__ import annotations

from collections.abc import Mapping

from auth_service.caller import Caller
from auth_service.exceptions import InvalidRequest
from auth_service.grants.base import requested_scopes, require_grant
from auth_service.issued import Issued
from auth_service.models import Client
from auth_service.sessions import REFRESH_GRANT, Sessions


class RefreshTokenGrant:
    """A refresh token for the next one and an access token.

    Each is good once (RFC 9700 section 4.14.2), but for a short grace; see `Sessions.refresh`.

    Args:
        sessions: Refreshes them.
    """

    name = REFRESH_GRANT

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    async def exchange(self, *, client: Client, form: Mapping[str, str], caller: Caller) -> Issued:
        """Refresh a session.

        Raises:
            UnauthorizedClient: The client is not registered for this grant.
            InvalidRequest: The token is missing.
            InvalidScope: The scope is malformed, or wider than what was granted.
            InvalidGrant: The token is not good, or not this client's.
            Unavailable: No database.
        """
        require_grant(client, self.name)
        text = form.get("refresh_token")
        if text is None:
            raise InvalidRequest("refresh_token is required")
        requested = requested_scopes(form.get("scope"), client)
        return await self._sessions.refresh(
            text, client, requested=requested, browser=False, caller=caller
        )
