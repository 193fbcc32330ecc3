"""Statements about the audit."""

from __future__ import annotations

from sqlalchemy import select

from auth_service.store import audit_events
from auth_service.store.database import Database
from auth_service.store.tables import AUDIT_EVENTS


async def test_events_are_numbered_in_order(database: Database) -> None:
    """By the database."""
    for event in ("login", "logout"):
        async with database.write() as connection:
            await audit_events.append(
                connection,
                at=1,
                event=event,
                outcome="success",
                actor="",
                subject="",
                client_id="",
                address="",
                request_id="",
                reason="",
            )

    async with database.read() as connection:
        rows = await connection.execute(
            select(AUDIT_EVENTS.c.id, AUDIT_EVENTS.c.event).order_by(AUDIT_EVENTS.c.id)
        )
        assert [tuple(row) for row in rows] == [(1, "login"), (2, "logout")]
