"""What is deleted once nobody needs it, so that no table grows for ever.

A thousand rows are one transaction, so that nobody waits long for their locks. On PostgreSQL one
process deletes at a time, and whoever finds another one at it leaves it to that one; on SQLite its
lock for writing does as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, delete, or_, select, text, tuple_

from auth_service.store.database import Database
from auth_service.store.tables import (
    ATTEMPTS,
    AUDIT_EVENTS,
    AUTHORIZATION_CODES,
    CLIENT_ASSERTIONS,
    CLIENTS,
    DEVICE_AUTHORIZATIONS,
    REVOCATION_LOG,
    REVOCATIONS,
    SESSIONS,
    SIGNING_KEYS,
    USERS,
)

BATCH = 1_000
_DAY = 86_400
# Longer than any access token and any code lives. A code that comes a second time ends its session,
# and a device that asks late is told why, for so long.
_HOUR = 3_600
# Clocks differ, here and at the gateways.
_SKEW = 300
# Others get their turn between two batches.
_PAUSE_SECONDS = 0.01
_ADVISORY_LOCK = 7_403_266_151_215


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long is kept what only people look at.

    Attributes:
        audit_days: Events of the audit.
        session_days: Sessions that have ended or expired.
    """

    audit_days: int = 90
    session_days: int = 30


_Rule = Callable[[int, Retention], ColumnElement[bool]]


def _sessions(now: int, retention: Retention) -> ColumnElement[bool]:
    gone = now - max(retention.session_days * _DAY, _HOUR)
    columns = SESSIONS.c
    return or_(
        columns.expires_at <= gone, columns.idle_expires_at <= gone, columns.ended_at <= gone
    )


def _keys(now: int, _retention: Retention) -> ColumnElement[bool]:
    columns = SIGNING_KEYS.c
    return or_(columns.removes_at <= now - _DAY, columns.revoked_at <= now - 30 * _DAY)


#: Which rows of a table are not needed any more.
RULES: Mapping[Table, _Rule] = {
    SESSIONS: _sessions,
    AUTHORIZATION_CODES: lambda now, _: AUTHORIZATION_CODES.c.expires_at <= now - _HOUR,
    DEVICE_AUTHORIZATIONS: lambda now, _: DEVICE_AUTHORIZATIONS.c.expires_at <= now - _HOUR,
    CLIENT_ASSERTIONS: lambda now, _: CLIENT_ASSERTIONS.c.expires_at <= now - _SKEW,
    ATTEMPTS: lambda now, _: ATTEMPTS.c.expires_at <= now,
    REVOCATIONS: lambda now, _: REVOCATIONS.c.until <= now - _SKEW,
    SIGNING_KEYS: _keys,
    AUDIT_EVENTS: lambda now, kept: AUDIT_EVENTS.c.at <= now - kept.audit_days * _DAY,
}
#: Tables that nothing is deleted from by itself, and what bounds them.
BOUNDED: Mapping[Table, str] = {
    USERS: "operators add users",
    CLIENTS: "operators add clients",
    REVOCATION_LOG: "it has one row",
}


async def prune(
    database: Database, *, now: int, retention: Retention, batch: int = BATCH
) -> dict[str, int]:
    """Delete what is not needed any more.

    Args:
        database: Where.
        now: Seconds since 1970.
        retention: How long some things are kept.
        batch: Rows of one transaction.

    Returns:
        How many rows of which table; what another process deletes meanwhile is not counted.

    Raises:
        StoreUnavailable: The database does not answer; what was done before stays done.
    """
    deleted: dict[str, int] = {}
    for table, rule in RULES.items():
        deleted[table.name] = 0
        count = batch
        while count == batch:
            found = await _delete(database, table, rule(now, retention), batch)
            if found is None:
                return deleted
            count = found
            deleted[table.name] += count
            await asyncio.sleep(_PAUSE_SECONDS)
    return deleted


async def _delete(
    database: Database, table: Table, condition: ColumnElement[bool], batch: int
) -> int | None:
    """Delete at most so many rows; None: another process is at it."""
    key = tuple_(*table.primary_key.columns)
    # What somebody else has locked is left for the next time.
    doomed = select(*table.primary_key.columns).where(condition).limit(batch)
    statement = delete(table).where(key.in_(doomed.with_for_update(skip_locked=True)))
    async with database.write(patient=True) as connection:
        if connection.dialect.name == "postgresql":
            lock = select(text(f"pg_try_advisory_xact_lock({_ADVISORY_LOCK})"))
            if not (await connection.execute(lock)).scalar_one():
                return None
        return (await connection.execute(statement)).rowcount
