"""Statements about the revocation log, the source of what gateways are told.

Numbers are given without gaps and in the order of commits: the row that counts is locked until the
transaction ends. So whoever has read up to a number has missed nothing below it. Append last in a
transaction, because others wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.tables import REVOCATION_LOG, REVOCATIONS

# Where a connection counts what it has appended, until its transaction ends.
APPENDED = "revocations_appended"

#: Clocks differ, so gateways refuse by an entry for so long after its ``until``, and one that
#: starts meanwhile has to learn of it.
MARGIN_SECONDS = 60

Kind = Literal["jti", "sid", "sub", "client", "kid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What is not valid any more.

    Args:
        kind: What ``value`` is: the id of a token, a session, a user or service, a client, a key.
        value: Which.
        sub: Whose, for a token or a session; empty for the others, or if it is not known.
        before: With a user, service or client: tokens whose ``iat`` is not above it. 0 otherwise.
        until: When everything it names has expired, seconds since 1970.
        reason: A short word for people.
    """

    kind: Kind
    value: str
    sub: str = ""
    before: int = 0
    until: int
    reason: str


async def append(connection: AsyncConnection, revocation: Revocation, *, now: int) -> int:
    """Write an entry at the end of the log; returns its number."""
    counted = await connection.execute(
        update(REVOCATION_LOG)
        .where(REVOCATION_LOG.c.id == 1)
        .values(top=REVOCATION_LOG.c.top + 1)
        .returning(REVOCATION_LOG.c.top)
    )
    seq = int(counted.scalar_one())
    row = {
        "seq": seq,
        "kind": revocation.kind,
        "value": revocation.value,
        "sub": revocation.sub,
        "before": revocation.before,
        "until": revocation.until,
        "reason": revocation.reason,
        "created_at": now,
    }
    await connection.execute(insert(REVOCATIONS).values(row))
    info = connection.info
    info[APPENDED] = info.get(APPENDED, 0) + 1
    return seq


async def names(connection: AsyncConnection, kind: Kind, value: str) -> bool:
    """Say whether the log names a token, session, user, client or key."""
    statement = select(REVOCATIONS.c.seq).where(
        REVOCATIONS.c.kind == kind, REVOCATIONS.c.value == value
    )
    return (await connection.execute(statement.limit(1))).first() is not None


async def position(connection: AsyncConnection) -> tuple[str, int]:
    """Return the log's id and its last number, 0 if nothing was ever revoked."""
    row = (await connection.execute(select(REVOCATION_LOG.c.log, REVOCATION_LOG.c.top))).one()
    return row.log, row.top


async def after(
    connection: AsyncConnection, seq: int, *, now: int, limit: int
) -> list[tuple[int, Revocation]]:
    """Return the entries above a number that still matter, in order, with their numbers.

    They matter `MARGIN_SECONDS` longer than the tokens they name.
    """
    rows = await connection.execute(
        select(REVOCATIONS)
        .where(REVOCATIONS.c.seq > seq, REVOCATIONS.c.until > now - MARGIN_SECONDS)
        .order_by(REVOCATIONS.c.seq)
        .limit(limit)
    )
    return [
        (
            row.seq,
            Revocation(
                kind=row.kind,
                value=row.value,
                sub=row.sub,
                before=row.before,
                until=row.until,
                reason=row.reason,
            ),
        )
        for row in rows
    ]
