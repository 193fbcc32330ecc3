"""An operator's orders about users, clients and their sessions.

Each is one transaction with its audit event and, where tokens die, its entry in the revocation log:
it happened wholly and everybody is told, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import audit
from auth_service.audit import OPERATOR, AuditEvent
from auth_service.caller import Caller
from auth_service.exceptions import NoSuchAccount
from auth_service.models import Client, User
from auth_service.passwords import PasswordHasher, check_new_password
from auth_service.sessions import Sessions
from auth_service.store import clients, users
from auth_service.store.database import Database

_NOWHERE = Caller()


class Administration:
    """The orders.

    Args:
        database: Where users, clients and sessions are.
        sessions: Ends sessions.
        hasher: Hashes a new password.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        sessions: Sessions,
        hasher: PasswordHasher,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._hasher = hasher
        self._clock = clock

    async def disable_user(self, user_id: str, *, caller: Caller = _NOWHERE) -> None:
        """Refuse a user's log-ins, end all sessions and revoke all tokens.

        Raises:
            NoSuchAccount: There is no such user.
        """
        async with self._database.write() as connection:
            user = await _user(connection, user_id)
            await users.set_disabled(connection, user_id, disabled=True)
            await self._record(connection, "user_disabled", user_id, caller)
            await self._end_all(connection, user, "user_disabled", caller)

    async def enable_user(self, user_id: str, *, caller: Caller = _NOWHERE) -> None:
        """Accept a user's log-ins again; what was revoked stays so.

        Raises:
            NoSuchAccount: There is no such user.
        """
        async with self._database.write() as connection:
            await _user(connection, user_id)
            await users.set_disabled(connection, user_id, disabled=False)
            await self._record(connection, "user_enabled", user_id, caller)

    async def set_password(self, user_id: str, password: str, *, caller: Caller = _NOWHERE) -> None:
        """Give a user a new password, end all sessions and revoke all tokens.

        Raises:
            NoSuchAccount: There is no such user.
            WeakPassword: The password is not acceptable.
        """
        async with self._database.read() as connection:
            user = await users.by_id(connection, user_id)
        if user is None:
            raise NoSuchAccount("there is no such user")
        check_new_password(password, username=user.username)
        password_hash = await self._hasher.hash(password)
        async with self._database.write() as connection:
            user = await _user(connection, user_id)
            await users.set_password_hash(connection, user_id, password_hash)
            await self._record(connection, "password_set", user_id, caller)
            await self._end_all(connection, user, "password_changed", caller)

    async def log_out_user(self, user_id: str, *, caller: Caller = _NOWHERE) -> None:
        """End all sessions of a user and revoke all tokens.

        Raises:
            NoSuchAccount: There is no such user.
        """
        async with self._database.write() as connection:
            await self._end_all(connection, await _user(connection, user_id), "admin", caller)

    async def end_session(self, sid: str, *, caller: Caller = _NOWHERE) -> None:
        """End one session.

        Raises:
            NoSuchAccount: There is no such session, or it has ended.
        """
        async with self._database.write() as connection:
            if not await self._sessions.end(
                connection, sid, reason="admin", actor=OPERATOR, caller=caller
            ):
                raise NoSuchAccount("there is no such session, or it has ended")

    async def disable_client(self, client_id: str, *, caller: Caller = _NOWHERE) -> None:
        """Refuse a client, end all its sessions and revoke all its tokens.

        Raises:
            NoSuchAccount: There is no such client.
        """
        async with self._database.write() as connection:
            client = await _client(connection, client_id)
            await clients.set_disabled(connection, client_id, disabled=True)
            await self._record(connection, "client_disabled", client_id, caller)
            await self._sessions.end_all_of_client(
                connection, client, reason="client_disabled", caller=caller
            )

    async def enable_client(self, client_id: str, *, caller: Caller = _NOWHERE) -> None:
        """Accept a client again; what was revoked stays so.

        Raises:
            NoSuchAccount: There is no such client.
        """
        async with self._database.write() as connection:
            await _client(connection, client_id)
            await clients.set_disabled(connection, client_id, disabled=False)
            await self._record(connection, "client_enabled", client_id, caller)

    async def revoke_client(self, client_id: str, *, caller: Caller = _NOWHERE) -> None:
        """End all sessions of a client and revoke all its tokens; it may ask for new ones.

        Raises:
            NoSuchAccount: There is no such client.
        """
        async with self._database.write() as connection:
            client = await _client(connection, client_id)
            await self._sessions.end_all_of_client(
                connection, client, reason="admin", caller=caller
            )

    async def _end_all(
        self, connection: AsyncConnection, user: User, reason: str, caller: Caller
    ) -> None:
        await self._sessions.end_all(connection, user, reason=reason, actor=OPERATOR, caller=caller)

    async def _record(
        self, connection: AsyncConnection, event: str, subject: str, caller: Caller
    ) -> None:
        entry = AuditEvent(event=event, actor=OPERATOR, subject=subject, caller=caller)
        await audit.record(connection, entry, now=self._clock())


async def _user(connection: AsyncConnection, user_id: str) -> User:
    user = await users.locked(connection, user_id)
    if user is None:
        raise NoSuchAccount("there is no such user")
    return user


async def _client(connection: AsyncConnection, client_id: str) -> Client:
    client = await clients.by_id(connection, client_id, lock=True)
    if client is None:
        raise NoSuchAccount("there is no such client")
    return client
