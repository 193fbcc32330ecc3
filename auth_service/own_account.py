"""What a logged-in user does with his own account: sessions and password."""

from __future__ import annotations

from collections.abc import Callable

from auth_service import audit
from auth_service.audit import AuditEvent
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant, InvalidRequest, WeakPassword
from auth_service.login import Login
from auth_service.models import User
from auth_service.passwords import PasswordHasher, check_new_password
from auth_service.sessions import SID, Sessions
from auth_service.store import sessions, users
from auth_service.store.database import Database
from auth_service.store.sessions import SessionRow

# Of as many sessions as anybody looks through; the last used ones.
MAX_LISTED_SESSIONS = 200


class OwnAccount:
    """The operations; who the user is has been checked.

    What ends more than one session wants the current password too, checked, counted and limited
    like any other log-in: whoever found an open page must not be able to lock its user out.

    Args:
        database: Where users and sessions are.
        sessions: Ends sessions.
        login: Checks the current password.
        hasher: Hashes the new one.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        sessions: Sessions,
        login: Login,
        hasher: PasswordHasher,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._login = login
        self._hasher = hasher
        self._clock = clock

    async def list_sessions(self, user_id: str) -> list[SessionRow]:
        """Return the sessions that are not over, the last used one first."""
        async with self._database.read() as connection:
            return await sessions.living_of_user(
                connection, user_id, now=int(self._clock()), limit=MAX_LISTED_SESSIONS
            )

    async def end_session(self, user_id: str, sid: str, *, caller: Caller) -> bool:
        """End one session; False if the user has none of this id that is not over."""
        if SID.fullmatch(sid) is None:
            return False
        async with self._database.write() as connection:
            session = await sessions.by_id(connection, sid)
            if session is None or session.user_id != user_id:
                return False
            return await self._sessions.end(
                connection, sid, reason="logout", actor=user_id, caller=caller
            )

    async def end_all_sessions(self, username: str, password: str, *, caller: Caller) -> None:
        """End all sessions and revoke all tokens, those of this very request included.

        Raises:
            InvalidGrant: The password is wrong.
            InvalidRequest: It is too long.
            RequestError: As `Login.authenticate`.
        """
        user = await self._authenticate(username, password, caller)
        async with self._database.write() as connection:
            current = await users.locked(connection, user.id)
            if current is None:
                raise InvalidGrant
            await self._sessions.end_all(
                connection, current, reason="logout_all", actor=user.id, caller=caller
            )

    async def change_password(
        self, username: str, password: str, new_password: str, *, caller: Caller
    ) -> None:
        """Replace the password, end all sessions and revoke all tokens.

        Raises:
            InvalidGrant: The password is wrong, or was changed by somebody else meanwhile.
            InvalidRequest: It is too long, or the new one is not acceptable.
            RequestError: As `Login.authenticate`.
        """
        try:
            check_new_password(new_password, username=username)
        except WeakPassword as error:
            raise InvalidRequest(str(error)) from None
        if new_password == password:
            raise InvalidRequest("the new password is the old one")
        user = await self._authenticate(username, password, caller)
        password_hash = await self._hasher.hash(new_password)
        async with self._database.write() as connection:
            current = await users.locked(connection, user.id)
            # Every change moves the watermark: a password that is not the current one any more
            # must not decide what the next one is.
            if current is None or current.disabled or current.tokens_after != user.tokens_after:
                raise InvalidGrant
            await users.set_password_hash(connection, user.id, password_hash)
            event = AuditEvent(
                event="password_changed", actor=user.id, subject=user.id, caller=caller
            )
            await audit.record(connection, event, now=self._clock())
            await self._sessions.end_all(
                connection, current, reason="password_changed", actor=user.id, caller=caller
            )

    async def _authenticate(self, username: str, password: str, caller: Caller) -> User:
        self._login.check_lengths(username, password)
        return await self._login.authenticate(username, password, caller=caller)
