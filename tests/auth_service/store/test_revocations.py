"""Statements about the revocation log."""

from __future__ import annotations

import asyncio

from auth_service.store import revocations
from auth_service.store.database import Database
from auth_service.store.revocations import Revocation


def _of(value: str, *, until: int = 100) -> Revocation:
    return Revocation(kind="sid", value=value, sub="alice", until=until, reason="logout")


async def _append(database: Database, revocation: Revocation) -> int:
    async with database.write() as connection:
        return await revocations.append(connection, revocation, now=1)


async def test_numbers_have_no_gaps_whoever_writes(database: Database) -> None:
    """From 1, also where a transaction fails in between."""

    async def fail() -> None:
        async with database.write() as connection:
            await revocations.append(connection, _of("never"), now=1)
            raise RuntimeError

    results = await asyncio.gather(
        *(_append(database, _of(str(number))) for number in range(10)),
        fail(),
        *(_append(database, _of(str(number))) for number in range(10, 20)),
        return_exceptions=True,
    )

    numbers = sorted(result for result in results if isinstance(result, int))
    assert numbers == list(range(1, 21))


async def test_what_is_read_is_what_was_written(database: Database) -> None:
    """In order, above a number, without what has expired a minute ago."""
    for value, until in (("a", 100), ("b", 10), ("c", 100), ("d", 100)):
        await _append(database, _of(value, until=until))

    async with database.read() as connection:
        log, top = await revocations.position(connection)
        every = await revocations.after(connection, 0, now=70, limit=10)
        later = await revocations.after(connection, 1, now=70, limit=1)

    assert log
    assert top == 4
    assert every == [(1, _of("a")), (3, _of("c")), (4, _of("d"))]
    assert later == [(3, _of("c"))]
