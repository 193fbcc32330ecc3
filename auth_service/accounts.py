"""Users: what an operator orders about them."""

from __future__ import annotations

from collections.abc import Callable

from auth_service import audit
from auth_service.audit import OPERATOR, AuditEvent
from auth_service.exceptions import AccountError, UsernameTaken
from auth_service.limits import Limits
from auth_service.models import CLIENT_ONLY_SCOPES, User, Username, parse_scope
from auth_service.passwords import PasswordHasher, check_new_password
from auth_service.store import users
from auth_service.store.database import Database


class Accounts:
    """Creates users and unlocks their accounts.

    Args:
        database: Where they are.
        hasher: Hashes their passwords.
        limits: Counts their failed log-ins.
        clock: Seconds since 1970.
        demo_users: Whether users may be made whose passwords are shown around.
    """

    def __init__(
        self,
        *,
        database: Database,
        hasher: PasswordHasher,
        limits: Limits,
        clock: Callable[[], float],
        demo_users: bool,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._limits = limits
        self._clock = clock
        self._demo_users = demo_users

    async def add(
        self, username: str, password: str, *, scope: str = "connect", demo: bool = False
    ) -> User:
        """Create a user.

        Args:
            username: 1 to 64 characters, see `Username.parse`.
            password: 15 to 256 characters.
            scope: What the user may be granted, words separated by blanks.
            demo: Whether the password is shown around; refused in production.

        Raises:
            InvalidUsername: The name is not acceptable.
            WeakPassword: The password is not acceptable.
            UsernameTaken: The name is in use, perhaps in another case or normal form.
            AccountError: The scope is malformed or not for users, or production got a demo user.
        """
        name = Username.parse(username)
        check_new_password(password, username=name.shown)
        scopes = parse_scope(scope)
        if scopes is None:
            raise AccountError("a scope is words of printable ASCII separated by single blanks")
        if scopes & CLIENT_ONLY_SCOPES:
            raise AccountError("the scopes api and introspect are for clients, not for users")
        if demo and not self._demo_users:
            raise AccountError("production takes no demo users")
        password_hash = await self._hasher.hash(password)
        now = self._clock()
        async with self._database.write() as connection:
            user = await users.add(
                connection,
                name,
                password_hash=password_hash,
                scope=" ".join(sorted(scopes)),
                demo=demo,
                now=int(now),
            )
            event = AuditEvent(event="user_added", actor=OPERATOR, subject=user.id)
            await audit.record(connection, event, now=now)
        return user

    async def by_name(self, username: str) -> User | None:
        """Find a user by name, whatever its case.

        Raises:
            InvalidUsername: Nobody can have this name.
        """
        return await self._user(Username.parse(username))

    async def by_id(self, user_id: str) -> User | None:
        """Find a user by the ``sub`` of tokens."""
        async with self._database.read() as connection:
            return await users.by_id(connection, user_id)

    async def list(self, *, after: str = "", limit: int) -> list[User]:
        """Return users in the order of their names.

        Args:
            after: Only those that come after this name.
            limit: At most so many.

        Raises:
            InvalidUsername: Nobody can have the name ``after``.
        """
        key = Username.parse(after).key if after else ""
        async with self._database.read() as connection:
            return await users.page(connection, after=key, limit=limit)

    async def ensure_demo_user(
        self, username: str, password: str, *, scope: str = "connect"
    ) -> User:
        """See to it that this demo user exists and has this password; may be repeated at will.

        Raises:
            UsernameTaken: The name belongs to somebody real, whose password is left alone.
            AccountError: As `add`.
        """
        name = Username.parse(username)
        user = await self._user(name)
        if user is None:
            try:
                return await self.add(username, password, scope=scope, demo=True)
            except UsernameTaken:  # another process was faster
                user = await self._user(name)
        if user is None or not user.demo:
            raise UsernameTaken("a user of this name exists and is no demo user")
        verdict = await self._hasher.verify(password, user.password_hash)
        if not verdict.correct:
            check_new_password(password, username=name.shown)
            password_hash = await self._hasher.hash(password)
            async with self._database.write() as connection:
                await users.replace_password_hash(connection, user, password_hash)
        return user

    async def unlock(self, username: str) -> bool:
        """Forget the failed log-ins of an account; says whether there were any.

        Args:
            username: Whether such a user exists or not.

        Raises:
            InvalidUsername: Nobody can have this name.
        """
        name = Username.parse(username)
        user = await self._user(name)
        async with self._database.write() as connection:
            found = await self._limits.clear(connection, name.key)
            event = AuditEvent(
                event="account_unlocked", actor=OPERATOR, subject=user.id if user else ""
            )
            await audit.record(connection, event, now=self._clock())
        return found

    async def any_demo_user(self) -> bool:
        """Say whether there is a user whose password was shown around."""
        async with self._database.read() as connection:
            return await users.any_demo(connection)

    async def _user(self, name: Username) -> User | None:
        async with self._database.read() as connection:
            return await users.by_name(connection, name)
