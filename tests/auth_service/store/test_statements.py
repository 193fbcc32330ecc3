"""What holds for single statements on whatever database."""

from __future__ import annotations

import asyncio

from sqlalchemy import literal, select, text

from auth_service.store.database import Bounds, Database
from auth_service.store.prepared import Prepared

ONE = Prepared(select(literal(1)))


async def test_single_statements_and_transactions_share_the_connections(database_url: str) -> None:
    """Whoever is first, nobody waits for what lies idle."""
    database = Database(database_url, bounds=Bounds(connections=2, seconds=10))
    await database.open()

    for _ in range(3):
        await asyncio.gather(*(database.row(ONE) for _ in range(5)))
        meet = asyncio.Barrier(2)

        async def use(meet: asyncio.Barrier) -> None:
            async with database.read() as connection:
                await connection.execute(text("SELECT 1"))
                await meet.wait()

        await asyncio.gather(use(meet), use(meet))

    await database.close()


async def test_a_closed_database_opens_again(database_url: str) -> None:
    """Nothing of before is used."""
    database = Database(database_url)
    for _ in range(2):
        await database.open()
        row = await database.row(ONE)
        assert row is not None
        assert row[0] == 1
        await database.close()
