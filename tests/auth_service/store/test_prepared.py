"""Statements that the driver runs itself."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.sqlite import aiosqlite
from sqlalchemy.engine import Dialect

from auth_service.store.prepared import Prepared
from auth_service.store.tables import USERS

SQLITE: Dialect = aiosqlite.dialect()
POSTGRESQL: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_values_follow_the_order_of_the_text(dialect: Dialect) -> None:
    """Given values, and those that are part of the statement, stand where the text wants them."""
    prepared = Prepared(
        update(USERS)
        .where(USERS.c.id == bindparam("user"), USERS.c.scope == "connect")
        .values(tokens_after=bindparam("after"))
        .returning(USERS.c.id)
    )

    for _ in range(2):
        text, values = prepared.written(dialect, {"user": "u1", "after": 7})
        assert text.startswith("UPDATE users SET tokens_after=")
        assert values == [7, "u1", "connect"]


def test_a_value_that_stands_twice_is_given_as_often_as_the_database_wants() -> None:
    """SQLite counts question marks, PostgreSQL counts values."""
    twice = (USERS.c.id == bindparam("x")) | (USERS.c.username == bindparam("x"))
    prepared = Prepared(select(USERS.c.id).where(twice))

    assert prepared.written(SQLITE, {"x": "a"})[1] == ["a", "a"]
    assert prepared.written(POSTGRESQL, {"x": "a"})[1] == ["a"]


def test_says_whether_it_writes() -> None:
    """So that failures are counted where they belong."""
    change = update(USERS).values(disabled=True).returning(USERS.c.id)

    assert Prepared(change).writes
    assert not Prepared(select(USERS.c.id)).writes
