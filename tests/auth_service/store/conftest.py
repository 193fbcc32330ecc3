"""A database for the statements under test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from auth_service.store.database import Database
from tests.databases import open_migrated
from tests.postgres_server import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Every statement is tried on both."""
    return str(request.param)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database."""
    opened = await open_migrated(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for this test alone, which may be killed; it writes as an operator's does."""
    server = PostgresServer({"fsync": "on"})
    try:
        yield server.start()
    finally:
        server.remove()
