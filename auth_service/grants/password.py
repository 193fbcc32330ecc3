"""Resource owner password credentials (RFC 6749 section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping

from auth_service.caller import Caller
from auth_service.exceptions import InvalidRequest
from auth_service.grants.base import granted_scopes, requested_scopes, require_grant
from auth_service.issued import Issued
from auth_service.login import Login
from auth_service.models import Client
from auth_service.sessions import Sessions
from auth_service.store.sessions import BROWSER


class PasswordGrant:
    """A user's name and password, given to the client.

    RFC 9700 section 2.4 forbids this grant, for the client sees the password; it is here because
    command lines and tests want it, for those clients only whose registration names it.

    Checks go from cheap to dear: what can be refused without the database or a hash is.

    Args:
        login: Checks name and password.
        sessions: Opens the session.
        browser: Whether the password was typed into a page of our own: that is no grant of the
            client's, so it need not be registered for it.
    """

    name = "password"

    def __init__(self, *, login: Login, sessions: Sessions, browser: bool = False) -> None:
        self._login = login
        self._sessions = sessions
        self._browser = browser

    async def exchange(self, *, client: Client, form: Mapping[str, str], caller: Caller) -> Issued:
        """Log a user in.

        Raises:
            UnauthorizedClient: The client is not registered for this grant.
            InvalidRequest: A parameter is missing or too long.
            InvalidScope: The scope is malformed, or wider than client and user together allow.
            InvalidGrant: Unknown user, wrong password or disabled user: one answer, one hash.
            Unavailable: Too many logins at once, or no database.
        """
        if not self._browser:
            require_grant(client, self.name)
        name, password = form.get("username"), form.get("password")
        if name is None or password is None:
            raise InvalidRequest("username and password are required")
        self._login.check_lengths(name, password)
        requested = requested_scopes(form.get("scope"), client)
        user = await self._login.authenticate(name, password, caller=caller)
        return await self._sessions.start(
            user,
            client,
            scopes=granted_scopes(requested, client, user),
            kind=BROWSER if self._browser else self.name,
            caller=caller,
        )
