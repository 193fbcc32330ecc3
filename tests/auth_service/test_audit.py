"""The audit."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import select

from auth_service.app import Service
from auth_service.audit import AuditEvent, record
from auth_service.caller import Caller
from auth_service.store.tables import AUDIT_EVENTS


async def test_an_event_is_a_row_and_a_line(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """With who, what, whom, from where and under which request."""
    event = AuditEvent(
        event="session_ended",
        actor="alice",
        subject="s1",
        client_id="chat",
        reason="logout",
        caller=Caller("192.0.2.1", "curl", "r1"),
    )

    with caplog.at_level(logging.INFO, "auth_service.audit"):
        async with service.database.write() as connection:
            await record(connection, event, now=7.9)

    async with service.database.read() as connection:
        ended = select(AUDIT_EVENTS).where(AUDIT_EVENTS.c.event == event.event)
        row = (await connection.execute(ended)).one()
    assert (row.at, row.event, row.outcome) == (7, "session_ended", "success")
    assert (row.actor, row.subject, row.client_id) == ("alice", "s1", "chat")
    assert (row.address, row.request_id, row.reason) == ("192.0.2.1", "r1", "logout")
    line = caplog.records[-1].__dict__
    assert (line["audit_event"], line["subject"], line["address"]) == (
        "session_ended",
        "s1",
        "192.0.2.1",
    )


async def test_what_is_rolled_back_did_not_happen(service: Service) -> None:
    """The row is part of the change it tells of."""

    async def fail() -> None:
        async with service.database.write() as connection:
            await record(connection, AuditEvent(event="login"), now=1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    async with service.database.read() as connection:
        logins = select(AUDIT_EVENTS).where(AUDIT_EVENTS.c.event == "login")
        assert (await connection.execute(logins)).first() is None
