"""Statements about users."""

from __future__ import annotations

import asyncio

from auth_service.exceptions import UsernameTaken
from auth_service.models import User, Username
from auth_service.store import users
from auth_service.store.database import Database


async def _add(database: Database, name: str, *, demo: bool = False) -> User:
    async with database.write() as connection:
        return await users.add(
            connection,
            Username.parse(name),
            password_hash="$hash",
            scope="connect",
            demo=demo,
            now=1,
        )


async def _by_id(database: Database, user_id: str) -> User:
    async with database.read() as connection:
        user = await users.by_id(connection, user_id)
    assert user is not None
    return user


async def test_a_user_is_found_by_name_and_id(database: Database) -> None:
    """Whatever the case of the name."""
    added = await _add(database, "Alice")

    async with database.read() as connection:
        assert await users.by_name(connection, Username.parse("aLICE")) == added
        assert await users.by_id(connection, added.id) == added
        assert await users.by_name(connection, Username.parse("bob")) is None
        assert await users.by_id(connection, "nobody") is None
    assert added.username == "Alice"


async def test_of_two_equal_names_at_once_one_wins(database: Database) -> None:
    """The database decides, not a look beforehand."""
    names = ["alice", "ALICE", "\uff41lice", "alice", "Alice"]

    results = await asyncio.gather(
        *(_add(database, name) for name in names), return_exceptions=True
    )

    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, UsernameTaken) for result in results) == 4


async def test_sql_in_a_name_is_a_name(database: Database) -> None:
    """Parameters are bound, never pasted."""
    name = "'; DROP TABLE users; --"
    added = await _add(database, name)

    async with database.read() as connection:
        assert await users.by_name(connection, Username.parse(name)) == added


async def test_a_rehash_does_not_undo_a_change_of_password(database: Database) -> None:
    """The new hash is stored only where the old one still is."""
    seen = await _add(database, "alice")

    async with database.write() as connection:
        assert await users.replace_password_hash(connection, seen, "$changed")
        assert not await users.replace_password_hash(connection, seen, "$rehash of the old one")

    assert (await _by_id(database, seen.id)).password_hash == "$changed"


async def test_users_can_be_disabled_and_enabled(database: Database) -> None:
    """The flag is stored."""
    added = await _add(database, "alice")

    for disabled in (True, False):
        async with database.write() as connection:
            await users.set_disabled(connection, added.id, disabled=disabled)
        assert (await _by_id(database, added.id)).disabled is disabled


async def test_demo_users_are_noticed(database: Database) -> None:
    """Production asks for them."""
    await _add(database, "real")
    async with database.read() as connection:
        assert not await users.any_demo(connection)

    await _add(database, "alice", demo=True)

    async with database.read() as connection:
        assert await users.any_demo(connection)
