"""Statements about signing keys; the private halves are sealed by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.tables import REVOCATION_LOG, SIGNING_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One row. Times are seconds since 1970.

    Args:
        kid: RFC 7638 thumbprint.
        algorithm: ``ES256`` or ``RS256``.
        sealed: The private key.
        public_jwk: The public one as JSON.
        created_at: When it was made.
        activates_at: From when on it signs, until another one does.
        removes_at: From when on it is published no more; None while it has no successor.
        revoked_at: When it was revoked.
    """

    kid: str
    algorithm: str
    sealed: bytes
    public_jwk: str
    created_at: int
    activates_at: int
    removes_at: int | None = None
    revoked_at: int | None = None


async def lock(connection: AsyncConnection) -> None:
    """Let nobody else change keys until the transaction ends.

    The row is that of the revocation log, for a revocation needs it anyway. SQLite has one writer
    at a time and no such clause.
    """
    await connection.execute(
        select(REVOCATION_LOG.c.id).where(REVOCATION_LOG.c.id == 1).with_for_update()
    )


async def every(connection: AsyncConnection) -> list[StoredKey]:
    """Return all keys, in the order of their activation."""
    order = (SIGNING_KEYS.c.activates_at, SIGNING_KEYS.c.created_at, SIGNING_KEYS.c.kid)
    rows = await connection.execute(select(SIGNING_KEYS).order_by(*order))
    return [StoredKey(**row._mapping) for row in rows]  # noqa: SLF001 (its public name)


async def version(connection: AsyncConnection) -> tuple[int, ...]:
    """Return a few numbers that differ after any change but a resealing."""
    columns = SIGNING_KEYS.c
    row = await connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(columns.activates_at), 0),
            func.coalesce(func.sum(columns.removes_at), 0),
            func.coalesce(func.sum(columns.revoked_at), 0),
        ).select_from(SIGNING_KEYS)
    )
    return tuple(int(number) for number in row.one())


async def add(connection: AsyncConnection, key: StoredKey) -> None:
    """Store a new key."""
    await connection.execute(
        insert(SIGNING_KEYS).values(
            kid=key.kid,
            algorithm=key.algorithm,
            sealed=key.sealed,
            public_jwk=key.public_jwk,
            created_at=key.created_at,
            activates_at=key.activates_at,
            removes_at=key.removes_at,
            revoked_at=key.revoked_at,
        )
    )


async def set_times(
    connection: AsyncConnection, times: Mapping[str, tuple[int, int | None]]
) -> None:
    """Set when keys begin to sign and when they are published no more, by ``kid``."""
    for kid, (activates_at, removes_at) in times.items():
        await connection.execute(
            update(SIGNING_KEYS)
            .where(SIGNING_KEYS.c.kid == kid)
            .values(activates_at=activates_at, removes_at=removes_at)
        )


async def revoke(connection: AsyncConnection, kid: str, *, now: int) -> None:
    """Publish a key no more."""
    await connection.execute(
        update(SIGNING_KEYS).where(SIGNING_KEYS.c.kid == kid).values(revoked_at=now)
    )


async def reseal(connection: AsyncConnection, kid: str, sealed: bytes) -> None:
    """Replace how the private key is kept."""
    await connection.execute(
        update(SIGNING_KEYS).where(SIGNING_KEYS.c.kid == kid).values(sealed=sealed)
    )
