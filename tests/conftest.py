"""The two databases of the token service, for whatever is to hold on both.

A test of the service runs on SQLite unless it says more. ``@BOTH_DATABASES`` of
``tests/databases.py`` on a test, or ``pytestmark = BOTH_DATABASES`` in a module, runs it on
PostgreSQL too; PostgreSQL is started once, by the first test that wants it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.no_skips import pytest_runtest_makereport
from tests.postgres_server import PostgresServer

__all__ = ["pytest_runtest_makereport"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is so marked on both databases, unless it needs none."""
    marked = metafunc.definition.get_closest_marker("both_databases") is not None
    if marked and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL, which must be left running."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def database_kind() -> str:
    """Which database the test runs on; replaced by ``BOTH_DATABASES``."""
    return "sqlite"


@pytest.fixture
def database_url(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The address of a fresh database; on PostgreSQL it has the tables already."""
    if database_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/data/auth.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)
