"""The one way in: a user's name and password, wherever they were typed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from auth_service.audit import AuditEvent, record
from auth_service.caller import Caller
from auth_service.exceptions import (
    InvalidGrant,
    InvalidRequest,
    InvalidUsername,
    Overloaded,
    StoreUnavailable,
    TooManyAttempts,
)
from auth_service.limits import Attempt, Limits
from auth_service.metrics import Metrics
from auth_service.models import User, Username
from auth_service.passwords import PasswordHasher, password_fits
from auth_service.store import users
from auth_service.store.database import Database

MAX_PRESENTED_NAME_CHARACTERS = 256
# Of the database's connections, so that a flood of log-ins leaves the others to everybody else.
DATABASE_TURNS = 2
# Before what nobody can be called, so that it is counted apart from real names.
_NOBODYS = "\0"
_log = logging.getLogger(__name__)


class Login:
    """Checks names and passwords: behind ``/token``, ``/session``, ``/authorize`` and ``/device``.

    Args:
        database: Users.
        hasher: Checks the password.
        limits: What is too much.
        metrics: Where logins are counted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        hasher: PasswordHasher,
        limits: Limits,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._inside = 0
        self._turns = asyncio.Semaphore(DATABASE_TURNS)

    def check_lengths(self, name: str, password: str) -> None:
        """Refuse what nobody can have typed, before anything is looked up.

        Raises:
            InvalidRequest: The name or the password is too long.
        """
        if len(name) > MAX_PRESENTED_NAME_CHARACTERS:
            raise InvalidRequest("username is too long")
        if not password_fits(password):
            raise InvalidRequest("password is too long")

    async def authenticate(self, name: str, password: str, *, caller: Caller) -> User:
        """Return the user of this name and password.

        Args:
            name: As typed, within `check_lengths`.
            password: As typed, within `check_lengths`.
            caller: Who asks.

        Raises:
            InvalidGrant: Unknown user, wrong password or disabled user: one answer, one hash.
            TooManyAttempts: Too many logins from there, to that account, or at all; or the account
                is locked after failures. One answer whether it exists and the password is right.
            Overloaded: Too many logins at once; it counts as no failure.
            StoreUnavailable: The database does not answer.
        """
        if self._inside >= self._hasher.capacity:
            # Whom no thread would take in time does not queue for the database first: that queue is
            # the one of refreshing and of health too.
            self._metrics.logins.labels(result="overloaded").inc()
            raise Overloaded
        self._inside += 1
        try:
            return await self._authenticate(name, password, caller)
        finally:
            self._inside -= 1

    async def _authenticate(self, name: str, password: str, caller: Caller) -> User:
        wanted = _parse(name)
        account = wanted.key if wanted else _NOBODYS + name
        try:
            async with self._turns:
                attempt = await self._limits.begin_login(account, caller.address)
        except TooManyAttempts:
            self._metrics.logins.labels(result="limited").inc()
            raise
        user = await self._find(wanted)
        try:
            verdict = await self._hasher.verify(password, user.password_hash if user else None)
        except Overloaded:
            self._metrics.logins.labels(result="overloaded").inc()
            raise
        if user is None or user.disabled or not verdict.correct:
            await self._fail(attempt, user, caller)
            self._metrics.logins.labels(result="failure").inc()
            raise InvalidGrant
        async with self._turns, self._database.write() as connection:
            await self._limits.succeeded(
                connection, attempt, account=account, address=caller.address
            )
            event = AuditEvent(event="login", actor=user.id, subject=user.id, caller=caller)
            await record(connection, event, now=self._clock())
        if verdict.replacement is not None:
            await self._strengthen(user, verdict.replacement)
        self._metrics.logins.labels(result="success").inc()
        return user

    async def _strengthen(self, user: User, password_hash: str) -> None:
        """Store a hash of today's cost; the login is good whether that succeeds or not."""
        try:
            async with self._database.write() as connection:
                await users.replace_password_hash(connection, user, password_hash)
        except StoreUnavailable:
            _log.warning("password_rehash_not_stored", extra={"sub": user.id})

    async def _fail(self, attempt: Attempt, user: User | None, caller: Caller) -> None:
        """Count and audit a failure: the same writing for a name that nobody has."""
        if user is None:
            subject, reason = "", "unknown_user"
        else:
            subject, reason = user.id, "disabled" if user.disabled else "wrong_password"
        async with self._turns, self._database.write() as connection:
            locked_seconds = await self._limits.failed(connection, attempt)
            event = AuditEvent(
                event="login", outcome="failure", subject=subject, reason=reason, caller=caller
            )
            await record(connection, event, now=self._clock())
            if locked_seconds:
                event = AuditEvent(
                    event="account_locked",
                    subject=subject,
                    reason=f"{locked_seconds}s",
                    caller=caller,
                )
                await record(connection, event, now=self._clock())

    async def _find(self, wanted: Username | None) -> User | None:
        if wanted is None:
            return None  # nobody has such a name; the answer is that for an unknown one
        async with self._turns, self._database.read() as connection:
            return await users.by_name(connection, wanted)


def _parse(name: str) -> Username | None:
    try:
        return Username.parse(name)
    except InvalidUsername:
        return None
