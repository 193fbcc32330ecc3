"""Statements about the audit."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.tables import AUDIT_EVENTS

# Where a connection notes what it has stored, until its transaction ends.
STORED = "audit_events_stored"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is stored; see `auth_service.audit.AuditEvent`.

    Args:
        at: Seconds since 1970.
        event: What.
        outcome: ``success``, ``failure`` or ``refused``.
        actor: Who did it.
        subject: To whom or what.
        client_id: Through which client.
        address: From where.
        request_id: Of the request, as the logs have it.
        reason: A word more.
    """

    at: int
    event: str
    outcome: str
    actor: str
    subject: str
    client_id: str
    address: str
    request_id: str
    reason: str


_ROW = tuple(AUDIT_EVENTS.c[field.name] for field in fields(StoredEvent))


async def append(
    connection: AsyncConnection,
    *,
    at: int,
    event: str,
    outcome: str,
    actor: str,
    subject: str,
    client_id: str,
    address: str,
    request_id: str,
    reason: str,
) -> None:
    """Store one event."""
    row = {
        "at": at,
        "event": event,
        "outcome": outcome,
        "actor": actor,
        "subject": subject,
        "client_id": client_id,
        "address": address,
        "request_id": request_id,
        "reason": reason,
    }
    await connection.execute(insert(AUDIT_EVENTS).values(row))
    connection.info.setdefault(STORED, []).append((event, outcome))


async def newest(
    connection: AsyncConnection,
    *,
    since: int | None,
    subject: str | None,
    actor: str | None,
    event: str | None,
    limit: int,
) -> list[StoredEvent]:
    """Return the newest events, in the order in which they were stored.

    Args:
        connection: From `Database.read`.
        since: Only those that are not before, seconds since 1970.
        subject: Only what happened to this one.
        actor: Only what this one did.
        event: Only those of this name.
        limit: At most so many.
    """
    statement = select(*_ROW).order_by(AUDIT_EVENTS.c.id.desc()).limit(limit)
    if since is not None:
        statement = statement.where(AUDIT_EVENTS.c.at >= since)
    for column, wanted in (
        (AUDIT_EVENTS.c.subject, subject),
        (AUDIT_EVENTS.c.actor, actor),
        (AUDIT_EVENTS.c.event, event),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    return [StoredEvent(*row) for row in await connection.execute(statement)][::-1]
