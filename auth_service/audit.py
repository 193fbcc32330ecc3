"""The audit: what happened to accounts, sessions, clients and keys, by whom and from where.

Each event is a row, written in the transaction of what it tells of, and one line in the log.
Neither holds a password, a token, or a name that nobody has.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.caller import Caller
from auth_service.store import audit_events

OPERATOR = "operator"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that happened.

    Args:
        event: What, such as ``login`` or ``session_ended``: a word of this package.
        outcome: ``success``, ``failure`` or ``refused``.
        actor: Who did it: a ``sub``, or ``operator``; empty if nobody knows.
        subject: To whom or what: a ``sub``, ``sid``, ``client_id`` or ``kid``.
        client_id: Through which client.
        reason: A word more.
        caller: From where.
    """

    event: str
    outcome: str = "success"
    actor: str = ""
    subject: str = ""
    client_id: str = ""
    reason: str = ""
    caller: Caller = field(default_factory=Caller)


async def record(connection: AsyncConnection, event: AuditEvent, *, now: float) -> None:
    """Write an event into the transaction of ``connection``, and into the log."""
    await audit_events.append(
        connection,
        at=int(now),
        event=event.event,
        outcome=event.outcome,
        actor=event.actor,
        subject=event.subject,
        client_id=event.client_id,
        address=event.caller.address,
        request_id=event.caller.request_id,
        reason=event.reason,
    )
    _log.info(
        "audit",
        extra={
            "audit_event": event.event,
            "outcome": event.outcome,
            "actor": event.actor,
            "subject": event.subject,
            "client_id": event.client_id,
            "address": event.caller.address,
            "reason": event.reason,
        },
    )
