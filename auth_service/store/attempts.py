"""Statements about attempts: rates by GCRA, failures in a row, and addresses that are known.

What is limited is named by a keyed hash, made by the caller. A row counts until it expires; after
that it is as good as none, whether it was removed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, case, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.tables import ATTEMPTS

WINDOW_SECONDS = 60
# Sums of fractions: without it the last attempt of a burst may find itself a microsecond early.
_GRAIN_SECONDS = 0.001
# No row is this far ahead unless a clock was set back; such a row would refuse for as long.
_CLOCK_SECONDS = 60
_COLUMNS = (ATTEMPTS.c.key, ATTEMPTS.c.arrival, ATTEMPTS.c.failures, ATTEMPTS.c.locked_until)


@dataclass(frozen=True, slots=True)
class Charge:
    """One attempt against one rate.

    Args:
        key: What is limited.
        interval: Seconds between attempts in the long run, at most 60; 0: as many as they like. In
            60 seconds of rest the right to `60 / interval` attempts at once comes back.
    """

    key: str
    interval: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand with one key.

    Args:
        arrival: When the next attempt is allowed by the rate.
        failures: In a row.
        locked_until: When the next attempt is allowed after those.
    """

    arrival: float
    failures: int
    locked_until: int


async def charge(
    connection: AsyncConnection, charges: Iterable[Charge], *, now: float
) -> dict[str, Standing]:
    """Count an attempt against each rate, in one statement.

    Returns:
        The keys whose rate allows it. For the others nothing was counted; roll back if the attempt
        is refused for one of them, else it costs the others too.
    """
    # In one order everywhere, so that two transactions never wait for each other.
    ordered = sorted(charges, key=lambda one: one.key)
    insert = _insert(connection).values(
        [
            {
                "key": one.key,
                "arrival": now - WINDOW_SECONDS + 2 * one.interval,
                "failures": 0,
                "locked_until": 0,
                "expires_at": int(now) + 2 * WINDOW_SECONDS + 1,
            }
            for one in ordered
        ]
    )
    old, new = ATTEMPTS.c, insert.excluded
    interval = case({one.key: one.interval for one in ordered}, value=old.key, else_=0.0)
    earlier = case((old.arrival > now + WINDOW_SECONDS + _CLOCK_SECONDS, 0.0), else_=old.arrival)
    following = earlier + interval
    statement = insert.on_conflict_do_update(
        index_elements=[ATTEMPTS.c.key],
        set_={
            "arrival": case((following > new.arrival, following), else_=new.arrival),
            "failures": case((old.expires_at <= int(now), 0), else_=old.failures),
            "locked_until": case((old.expires_at <= int(now), 0), else_=old.locked_until),
            "expires_at": case(
                (old.expires_at > new.expires_at, old.expires_at), else_=new.expires_at
            ),
        },
        where=earlier <= now + _GRAIN_SECONDS,
    ).returning(*_COLUMNS)
    return {
        row.key: Standing(row.arrival, row.failures, row.locked_until)
        for row in await connection.execute(statement)
    }


async def standings(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, Standing]:
    """Return how things stand with these keys, those without a row left out."""
    statement = select(*_COLUMNS).where(ATTEMPTS.c.key.in_(sorted(keys)))
    return {
        row.key: Standing(row.arrival, row.failures, row.locked_until)
        for row in await connection.execute(statement)
    }


async def fail(
    connection: AsyncConnection, keys: Iterable[str], *, now: float, expires_at: int
) -> dict[str, int]:
    """Count a failure for each key; returns how many in a row there are now."""
    insert = _insert(connection).values(
        [
            {
                "key": key,
                "arrival": now - WINDOW_SECONDS,
                "failures": 1,
                "locked_until": 0,
                "expires_at": expires_at,
            }
            for key in sorted(keys)
        ]
    )
    statement = insert.on_conflict_do_update(
        index_elements=[ATTEMPTS.c.key],
        set_={
            "failures": case((ATTEMPTS.c.expires_at <= int(now), 1), else_=ATTEMPTS.c.failures + 1),
            "expires_at": insert.excluded.expires_at,
        },
    ).returning(ATTEMPTS.c.key, ATTEMPTS.c.failures)
    return {row.key: row.failures for row in await connection.execute(statement)}


async def lock(
    connection: AsyncConnection, until: Mapping[str, int], *, expires_at: int | None = None
) -> None:
    """Refuse further attempts of these keys until their time.

    Args:
        connection: Inside a transaction.
        until: By key.
        expires_at: When their failures are forgotten; None leaves that as it is.
    """
    values: dict[str, object] = {"locked_until": bindparam("until")}
    if expires_at is not None:
        values["expires_at"] = expires_at
    statement = update(ATTEMPTS).where(ATTEMPTS.c.key == bindparam("which")).values(values)
    rows = [{"which": key, "until": until[key]} for key in sorted(until)]
    await connection.execute(statement, rows)


async def forgive(connection: AsyncConnection, keys: Iterable[str]) -> None:
    """Forget failures and locks; the rates go on."""
    await connection.execute(
        update(ATTEMPTS).where(ATTEMPTS.c.key.in_(sorted(keys))).values(failures=0, locked_until=0)
    )


async def remove(connection: AsyncConnection, keys: Sequence[str]) -> bool:
    """Forget everything about these keys; says whether there was anything."""
    result = await connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.key.in_(sorted(keys))))
    return result.rowcount > 0


async def remember(connection: AsyncConnection, key: str, *, now: float, expires_at: int) -> None:
    """Note that something is known until a time."""
    row = {
        "key": key,
        "arrival": now,
        "failures": 0,
        "locked_until": 0,
        "expires_at": expires_at,
    }
    await connection.execute(
        _insert(connection)
        .values(row)
        .on_conflict_do_update(
            index_elements=[ATTEMPTS.c.key], set_={"arrival": now, "expires_at": expires_at}
        )
    )


async def is_known(connection: AsyncConnection, key: str, *, now: float) -> bool:
    """Say whether `remember` was called for it and its time has not come."""
    condition = (ATTEMPTS.c.key == key) & (ATTEMPTS.c.expires_at > int(now))
    return bool(await connection.scalar(select(exists().where(condition))))


def _insert(connection: AsyncConnection) -> postgresql.Insert | sqlite.Insert:
    """Begin an INSERT that can go on with ON CONFLICT, which each dialect has for itself."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(ATTEMPTS)
    return sqlite.insert(ATTEMPTS)
