"""Statements about the requests of devices (RFC 8628)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, Select, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.tables import DEVICE_AUTHORIZATIONS as DEVICES

State = Literal["pending", "approved", "denied", "used"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAuthorization:
    """What a device asks for.

    Args:
        code_hash: SHA-256 of its device code, in hexadecimal.
        user_code: What its user types, without the hyphen.
        client_id: Which client it is.
        scope: What it wants, words separated by blanks.
        state: How far it is.
        user_id: Who approved it.
        auth_time: When that user typed the password.
        interval: Seconds the device waits between two questions.
        polled_at: When it asked last; None: not yet.
        expires_at: When it ends.
    """

    code_hash: str
    user_code: str
    client_id: str
    scope: str
    state: State
    user_id: str | None
    auth_time: int | None
    interval: int
    polled_at: float | None
    expires_at: int


async def add(
    connection: AsyncConnection,
    *,
    code_hash: str,
    user_code: str,
    client_id: str,
    scope: str,
    interval: int,
    now: int,
    expires_at: int,
) -> bool:
    """Store a new request; False if its user code is taken: another one is not."""
    row = {
        "code_hash": code_hash,
        "user_code": user_code,
        "client_id": client_id,
        "scope": scope,
        "state": "pending",
        "interval": interval,
        "created_at": now,
        "expires_at": expires_at,
    }
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    taken = insert(DEVICES).on_conflict_do_nothing(index_elements=[DEVICES.c.user_code])
    return (await connection.execute(taken.values(row))).rowcount == 1


async def by_user_code(
    connection: AsyncConnection, user_code: str, *, now: int
) -> DeviceAuthorization | None:
    """Find the request that still waits for a decision."""
    return await _one(
        connection,
        select(DEVICES).where(
            DEVICES.c.user_code == user_code,
            DEVICES.c.state == "pending",
            DEVICES.c.expires_at > now,
        ),
    )


async def decide(
    connection: AsyncConnection,
    user_code: str,
    *,
    state: Literal["approved", "denied"],
    user_id: str | None,
    scope: str,
    auth_time: int | None,
    now: int,
) -> bool:
    """Approve or deny a request; False if somebody was faster or it has expired."""
    result = await connection.execute(
        update(DEVICES)
        .where(
            DEVICES.c.user_code == user_code,
            DEVICES.c.state == "pending",
            DEVICES.c.expires_at > now,
        )
        .values(state=state, user_id=user_id, scope=scope, auth_time=auth_time)
    )
    return result.rowcount == 1


async def for_polling(
    connection: AsyncConnection, code_hash: str, client_id: str
) -> DeviceAuthorization | None:
    """Find a device's own request and keep it as it is until the transaction ends."""
    statement = (
        select(DEVICES)
        .where(DEVICES.c.code_hash == code_hash, DEVICES.c.client_id == client_id)
        .with_for_update()
    )
    return await _one(connection, statement)


async def polled(
    connection: AsyncConnection, code_hash: str, *, at: float, interval: int, state: State
) -> None:
    """Note that a device asked, and what became of it."""
    await connection.execute(
        update(DEVICES)
        .where(DEVICES.c.code_hash == code_hash)
        .values(polled_at=at, interval=interval, state=state)
    )


async def _one(connection: AsyncConnection, statement: Select[Any]) -> DeviceAuthorization | None:
    row: Row[Any] | None = (await connection.execute(statement)).first()
    if row is None:
        return None
    return DeviceAuthorization(
        code_hash=row.code_hash,
        user_code=row.user_code,
        client_id=row.client_id,
        scope=row.scope,
        state=row.state,
        user_id=row.user_id,
        auth_time=row.auth_time,
        interval=row.interval,
        polled_at=row.polled_at,
        expires_at=row.expires_at,
    )
