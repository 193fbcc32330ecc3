"""Which databases a test of the token service runs on."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from auth_service.store import migration
from auth_service.store.database import Database
from auth_service.store.prepared import Prepared

#: Decorates a test, or is a module's ``pytestmark``: what asks for a database runs once on SQLite,
#: once on PostgreSQL.
BOTH_DATABASES = pytest.mark.both_databases


async def open_migrated(url: str) -> Database:
    """Open a database that has the service's tables; the caller closes it."""
    database = Database(url)
    await database.open()
    await migration.upgrade(database)
    return database


def watch_statements(database: Database) -> list[str]:
    """Return a list that every statement from now on is put into."""
    statements: list[str] = []
    engine = database._engine.sync_engine
    event.listen(
        engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    run = database.row

    async def row(statement: Prepared, **values: Any) -> Any:  # noqa: ANN401
        statements.append(statement.written(engine.dialect, values)[0])
        return await run(statement, **values)

    database.row = row  # type: ignore[method-assign]
    return statements
