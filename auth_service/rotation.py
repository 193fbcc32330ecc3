"""The signing keys in the database: made, taken in turn and revoked, while tokens go on.

A new key is published before it signs and an old one after it has signed, long enough that nobody
meets a token whose key he cannot have (`LEAD_SECONDS`, `RETENTION_SECONDS`). The times are in the
database, and each process reads them every `RELOAD_SECONDS`, so all of them change keys together.
The private halves are sealed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit import OPERATOR, AuditEvent, record
from auth_service.exceptions import ConfigurationError, KeyRefused, StoreUnavailable
from auth_service.keys import (
    JWKS_MAX_AGE_SECONDS,
    DatedKey,
    KeyCalendar,
    KeyRing,
    SigningKey,
    State,
    check_pem,
    from_pem,
    new_pem,
    read_files,
    signs_for,
)
from auth_service.sealing import SecretKeys
from auth_service.store import revocations, signing_keys
from auth_service.store.database import Database
from auth_service.store.revocations import Revocation
from auth_service.store.signing_keys import StoredKey
from auth_service.tokens import LEEWAY_SECONDS, MAX_LIFETIME_SECONDS

RELOAD_SECONDS = 2
#: A gateway that asked for the key set does not ask again for so long, whatever kid it meets.
REFETCH_COOLDOWN_SECONDS = 10
#: How far two clocks may differ.
SKEW_SECONDS = 30
#: From publishing a key to its first signature: every process has read it, every copy of the old
#: set has expired, a gateway that fetched at the worst moment has fetched again.
LEAD_SECONDS = RELOAD_SECONDS + JWKS_MAX_AGE_SECONDS + REFETCH_COOLDOWN_SECONDS + SKEW_SECONDS
#: From the successor's first signature to the removal: the last token has expired for everybody.
#: The longest life counts and not today's setting, which may have been longer yesterday.
RETENTION_SECONDS = MAX_LIFETIME_SECONDS + LEEWAY_SECONDS + JWKS_MAX_AGE_SECONDS + SKEW_SECONDS

_log = logging.getLogger(__name__)


class KeyRotation:
    """The keys of every process that uses one database; a `KeySource`.

    Args:
        database: Where they are.
        secrets: Under which they are sealed.
        directory: Of PEM files that are taken over when there is no key yet.
        algorithm: What new keys are for.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        secrets: SecretKeys,
        directory: Path,
        algorithm: str,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._directory = directory
        self._algorithm = algorithm
        self._clock = clock
        self._calendar = KeyCalendar(())
        # Building a key costs a hundred signatures, so each is built once.
        self._built: dict[str, SigningKey] = {}
        self._version: tuple[int, ...] = ()
        self._watch: asyncio.Task[None] | None = None

    def at(self, now: float, /) -> KeyRing:
        """Return the keys that sign and verify now."""
        return self._calendar.at(now)

    async def open(self, *, follow: bool = True) -> None:
        """See to it that there is a key, load all, and follow changes until `close`.

        Of several processes that start with an empty database one makes the key.

        Args:
            follow: Whether to; who goes soon need not.

        Raises:
            ConfigurationError: A key cannot be unsealed, or a file cannot be taken over.
            StoreUnavailable: The database does not answer.
        """
        async with self._database.write() as connection:
            await signing_keys.lock(connection)
            if not await signing_keys.every(connection):
                await self._begin(connection)
        await self.reload()
        if follow:
            self._watch = asyncio.create_task(self._follow(), name="signing-keys")

    async def close(self) -> None:
        """Follow changes no more."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None

    async def reload(self) -> None:
        """Take over what other processes changed.

        Raises:
            ConfigurationError: A key cannot be unsealed.
            StoreUnavailable: The database does not answer.
        """
        async with self._database.read() as connection:
            version = await signing_keys.version(connection)
            if version == self._version:
                return
            rows = await signing_keys.every(connection)
        # Of removed and revoked keys the private half is needed no more.
        now = self._clock()
        dated = [self._dated(row) for row in rows if _published(row, now)]
        self._built = {one.key.kid: one.key for one in dated}
        self._calendar, self._version = KeyCalendar(dated), version

    def published(self) -> list[tuple[DatedKey, State]]:
        """Return the keys that this process knows, and their states now."""
        return self._calendar.states(self._clock())

    async def states(self) -> list[tuple[StoredKey, State]]:
        """Return every key there ever was, and its state."""
        now = self._clock()
        async with self._database.read() as connection:
            rows = await signing_keys.every(connection)
        calendar = KeyCalendar([self._dated(row) for row in rows if _published(row, now)])
        states = {one.key.kid: state for one, state in calendar.states(now)}
        ended: dict[bool, State] = {True: "revoked", False: "removed"}
        return [(row, states.get(row.kid, ended[row.revoked_at is not None])) for row in rows]

    async def rotate(
        self, *, at_once: bool = False, pem: bytes | None = None, actor: str = OPERATOR
    ) -> StoredKey:
        """Make the next key, which will sign after `LEAD_SECONDS`.

        Args:
            at_once: It signs now, or if one is pending, that one does. Gateways ask for a key they
                do not know, but not more often than every ten seconds, so some tokens may be
                refused for so long.
            pem: The key, if it was made elsewhere; it may be of another algorithm.
            actor: Who orders it.

        Raises:
            KeyRefused: A key is pending already, or ``pem`` is no key for us, or one we know.
        """
        if pem is not None:
            try:
                check_pem(pem)
            except ValueError as error:
                raise KeyRefused(f"the file {error}") from None
        now = int(self._clock())
        async with self._database.write() as connection:
            await signing_keys.lock(connection)
            every = await signing_keys.every(connection)
            rows = [row for row in every if _published(row, now)]
            pending = next((row for row in rows if row.activates_at > now), None)
            if pending is not None and (pem is not None or not at_once):
                raise KeyRefused(f"a key is pending already: {pending.kid}")
            if pem is not None and any(row.kid == from_pem(pem).kid for row in every):
                raise KeyRefused("this key is known already")
            following = await self._next(connection, rows, now, at_once=at_once, pem=pem)
            event = AuditEvent(
                event="key_rotated" if pem is None else "key_imported",
                actor=actor,
                subject=following.kid,
                reason="at_once" if at_once else "",
            )
            await record(connection, event, now=now)
        await self.reload()
        return following

    async def revoke(self, kid: str, *, actor: str = OPERATOR) -> None:
        """Withdraw a key in an emergency: tokens that it signed are refused from now on.

        It leaves the key set, gateways are told by the revocation log, and if it was the one that
        signs, another one does so at once.

        Raises:
            KeyRefused: There is no such key, or it is revoked already.
        """
        now = int(self._clock())
        async with self._database.write() as connection:
            await signing_keys.lock(connection)
            rows = await signing_keys.every(connection)
            if not any(row.kid == kid and row.revoked_at is None for row in rows):
                raise KeyRefused("there is no such key that is not revoked already")
            await signing_keys.revoke(connection, kid, now=now)
            left = [row for row in rows if row.kid != kid and _published(row, now)]
            was_active = self._active(rows, now) == kid
            if was_active:
                await self._next(connection, left, now, at_once=True)
            else:
                await _set_removals(connection, left)
            event = AuditEvent(event="key_revoked", actor=actor, subject=kid)
            await record(connection, event, now=now)
            revocation = Revocation(
                kind="kid", value=kid, until=now + RETENTION_SECONDS, reason="key_revoked"
            )
            await revocations.append(connection, revocation, now=now)
        await self.reload()

    async def reseal(self, *, actor: str = OPERATOR) -> int:
        """Seal every key with the first sealing key, so that the others can go; returns how many.

        Raises:
            ConfigurationError: A key cannot be unsealed.
        """
        async with self._database.write() as connection:
            await signing_keys.lock(connection)
            old = [
                row
                for row in await signing_keys.every(connection)
                if not self._secrets.sealed_by_first(row.sealed)
            ]
            for row in old:
                pem = self._secrets.open(row.sealed, sealed_as(row.kid))
                sealed = self._secrets.seal(pem, sealed_as(row.kid))
                await signing_keys.reseal(connection, row.kid, sealed)
            event = AuditEvent(event="keys_resealed", actor=actor, reason=str(len(old)))
            await record(connection, event, now=self._clock())
        return len(old)

    async def _begin(self, connection: AsyncConnection) -> None:
        """Fill an empty table: with the files of an earlier version, or with a first key."""
        now = int(self._clock())
        first = None
        for name, pem in read_files(self._directory).items():
            if signs_for(name, self._algorithm) and from_pem(pem).algorithm == self._algorithm:
                first = pem
            else:
                # Verifies as before, until what it signed has expired.
                key = replace(self._sealed(pem, now, now - 1), removes_at=now + RETENTION_SECONDS)
                await signing_keys.add(connection, key)
        row = self._sealed(first or new_pem(self._algorithm), now, now)
        await signing_keys.add(connection, row)
        event = AuditEvent(
            event="key_imported" if first else "key_made", actor=OPERATOR, subject=row.kid
        )
        await record(connection, event, now=now)

    async def _next(
        self,
        connection: AsyncConnection,
        rows: list[StoredKey],
        now: int,
        *,
        at_once: bool,
        pem: bytes | None = None,
    ) -> StoredKey:
        """Make the next key, or let the pending one begin; the others are removed in time."""
        pending = next((row for row in rows if row.activates_at > now), None)
        if pending is not None:
            following = replace(pending, activates_at=now)
            rows = [row for row in rows if row is not pending]
        else:
            following = self._sealed(
                pem or new_pem(self._algorithm), now, now if at_once else now + LEAD_SECONDS
            )
            await signing_keys.add(connection, following)
        if at_once:
            # One that began in this very second came before nevertheless.
            rows = [replace(row, activates_at=min(row.activates_at, now - 1)) for row in rows]
        await _set_removals(connection, [*rows, following])
        return following

    def _sealed(self, pem: bytes, now: int, activates_at: int) -> StoredKey:
        key = from_pem(pem)
        return StoredKey(
            kid=key.kid,
            algorithm=key.algorithm,
            sealed=self._secrets.seal(pem, sealed_as(key.kid)),
            public_jwk=json.dumps(dict(key.public_jwk), sort_keys=True),
            created_at=now,
            activates_at=activates_at,
        )

    def _active(self, rows: Iterable[StoredKey], now: int) -> str:
        published = KeyCalendar([self._dated(row) for row in rows if _published(row, now)])
        return published.at(now).signing.kid

    def _dated(self, row: StoredKey) -> DatedKey:
        key = self._built.get(row.kid)
        if key is None:
            key = from_pem(self._secrets.open(row.sealed, sealed_as(row.kid)))
        return DatedKey(
            key=key,
            created_at=row.created_at,
            activates_at=row.activates_at,
            removes_at=row.removes_at,
            revoked_at=row.revoked_at,
        )

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self.reload()
            except (ConfigurationError, StoreUnavailable) as error:
                # What is known goes on; the next round may be better.
                _log.warning("signing_keys_not_reloaded", extra={"error": type(error).__name__})
            except Exception:  # noqa: BLE001 (a task that died would be noticed by nobody)
                _log.exception("signing_keys_not_reloaded")


def sealed_as(kid: str) -> bytes:
    """Return what binds a sealed private key to its row."""
    return f"signing-key {kid}".encode()


def _published(row: StoredKey, now: float) -> bool:
    return row.revoked_at is None and (row.removes_at is None or now < row.removes_at)


async def _set_removals(connection: AsyncConnection, rows: Iterable[StoredKey]) -> None:
    """Let each published key be removed in time after its successor begins; the last one stays."""
    order = sorted(rows, key=lambda row: (row.activates_at, row.created_at, row.kid))
    ends: list[int | None] = [row.activates_at + RETENTION_SECONDS for row in order[1:]]
    times = {
        row.kid: (row.activates_at, end) for row, end in zip(order, [*ends, None], strict=True)
    }
    await signing_keys.set_times(connection, times)
