"""Single statements on PostgreSQL: connections at hand, and the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from auth_service.store.postgresql_statements import PostgreSQLStatements
from tests.postgres_server import PostgresServer

BACKEND = "SELECT pg_backend_pid()"


@pytest.fixture
async def engine(postgres: PostgresServer) -> AsyncIterator[AsyncEngine]:
    """A pool of three connections."""
    made = create_async_engine(
        postgres.url("postgres"), pool_size=3, max_overflow=0, pool_timeout=10
    )
    yield made
    await made.dispose()


@pytest.fixture
async def statements(engine: AsyncEngine) -> AsyncIterator[PostgreSQLStatements]:
    """The subject."""
    made = PostgreSQLStatements(engine, at_hand=1)
    yield made
    await made.close()


async def _backend(statements: PostgreSQLStatements) -> int:
    row = await statements.run(BACKEND, [], writes=False)
    assert row is not None
    return int(row[0])


async def test_a_connection_stays_at_hand(
    statements: PostgreSQLStatements, engine: AsyncEngine
) -> None:
    """One of several that were needed at once; the others go back to the pool."""
    used = await asyncio.gather(*(_backend(statements) for _ in range(3)))

    assert statements.idle == 1
    assert engine.sync_engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    assert {await _backend(statements) for _ in range(3)} <= set(used)


async def test_transactions_may_have_all_of_the_pool(
    statements: PostgreSQLStatements, engine: AsyncEngine
) -> None:
    """What lies at hand is lent to them."""
    await _backend(statements)
    held = []
    for _ in range(3):
        statements.make_room()
        held.append(await engine.connect())

    assert statements.idle == 0
    waiting = asyncio.create_task(_backend(statements))
    await held.pop().close()
    assert await waiting
    for connection in held:
        await connection.close()


async def test_a_connection_that_was_cut_is_not_used(
    statements: PostgreSQLStatements, postgres: PostgresServer
) -> None:
    """It lay at hand meanwhile: nobody's request fails because of that."""
    backend = await _backend(statements)
    driver: Any = statements._at_hand[-1].driver_connection
    cut = asyncio.Event()
    driver.add_termination_listener(lambda _: cut.set())
    postgres.ask(f"SELECT pg_terminate_backend({backend})")
    async with asyncio.timeout(30):
        await cut.wait()

    assert await _backend(statements) != backend


async def test_a_failure_costs_one_connection(
    statements: PostgreSQLStatements, engine: AsyncEngine
) -> None:
    """Nobody knows what state it is in."""
    backend = await _backend(statements)

    with pytest.raises(asyncpg.PostgresError):
        await statements.run("SELECT no_such_column", [], writes=False)

    assert engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await _backend(statements) != backend


async def test_a_standby_is_left(engine: AsyncEngine) -> None:
    """Behind the same address another server may write by now, so none of its connections stays."""
    statements = PostgreSQLStatements(engine, at_hand=2)
    before = set(await asyncio.gather(_backend(statements), _backend(statements)))
    await statements.run("SET default_transaction_read_only = on", [], writes=True)

    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await statements.run("CREATE TABLE y ()", [], writes=True)

    after = set(await asyncio.gather(_backend(statements), _backend(statements)))
    assert len(before) == len(after) == 2
    assert not before & after
    await statements.close()


async def test_renewing_replaces_what_lies_at_hand(statements: PostgreSQLStatements) -> None:
    """Somebody else has found the server to be another."""
    backend = await _backend(statements)

    statements.renew()

    assert await _backend(statements) != backend
