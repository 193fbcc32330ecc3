"""The database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from auth_service.exceptions import StoreUnavailable, UsernameTaken
from auth_service.models import Client, Username
from auth_service.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    opened = Store(f"sqlite+aiosqlite:///{tmp_path}/deep/er/auth.db")
    await opened.open()
    yield opened
    await opened.close()


async def _add(store: Store, name: str, *, demo: bool = False) -> str:
    user = await store.add_user(
        Username.parse(name), password_hash="$hash", scope="connect", demo=demo, now=1
    )
    return user.id


async def test_a_user_is_found_by_name_and_id(store: Store) -> None:
    """Whatever the case of the name."""
    user_id = await _add(store, "Alice")

    found = await store.user_by_name(Username.parse("aLICE"))

    assert found == await store.user_by_id(user_id)
    assert found is not None
    assert found.username == "Alice"
    assert await store.user_by_name(Username.parse("bob")) is None
    assert await store.user_by_id("nobody") is None


async def test_of_two_equal_names_at_once_one_wins(store: Store) -> None:
    """The database decides, not a look beforehand."""
    names = ["alice", "ALICE", "\uff41lice", "alice", "Alice"]

    results = await asyncio.gather(*(_add(store, name) for name in names), return_exceptions=True)

    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, UsernameTaken) for result in results) == 4


async def test_parallel_writers_wait_for_each_other(store: Store) -> None:
    """BEGIN IMMEDIATE: nobody gets `database is locked`."""
    await asyncio.gather(*(_add(store, f"user{number}") for number in range(30)))

    assert await store.user_by_name(Username.parse("user29")) is not None


async def test_sql_in_a_name_is_a_name(store: Store) -> None:
    """Parameters are bound, never pasted."""
    name = "'; DROP TABLE users; --"
    user_id = await _add(store, name)

    found = await store.user_by_name(Username.parse(name))
    assert found is not None
    assert found.id == user_id


async def test_a_rehash_does_not_undo_a_change_of_password(store: Store) -> None:
    """The new hash is stored only where the old one still is."""
    user_id = await _add(store, "alice")
    seen = await store.user_by_id(user_id)
    assert seen is not None
    await store.replace_password_hash(seen, "$changed")

    await store.replace_password_hash(seen, "$rehash of the old password")

    now = await store.user_by_id(user_id)
    assert now is not None
    assert now.password_hash == "$changed"


async def test_users_can_be_disabled_and_enabled(store: Store) -> None:
    """The flag is stored."""
    user_id = await _add(store, "alice")

    for disabled in (True, False):
        await store.set_user_disabled(user_id, disabled=disabled)
        user = await store.user_by_id(user_id)
        assert user is not None
        assert user.disabled is disabled


async def test_demo_users_are_noticed(store: Store) -> None:
    """Production asks for them."""
    await _add(store, "real")
    assert not await store.has_demo_users()

    await _add(store, "alice", demo=True)

    assert await store.has_demo_users()


async def test_a_client_is_stored_once(store: Store) -> None:
    """A second one of the same id changes nothing."""
    client = Client("chat", None, frozenset({"password"}), frozenset({"b", "a"}), False, 1)

    assert await store.add_client(client)
    assert not await store.add_client(Client("chat", "x", frozenset(), frozenset(), False, 2))

    assert await store.client("chat") == client
    assert await store.client("other") is None


async def test_files_are_for_their_owner(store: Store, tmp_path: Path) -> None:
    """Hashes of passwords are in the main file and in the log beside it."""
    await _add(store, "alice")

    for file in (tmp_path / "deep/er").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


async def test_pragmas_are_set(store: Store) -> None:
    """Write-ahead log, waiting, foreign keys."""
    async with store._engine.connect() as connection:
        found = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "busy_timeout", "foreign_keys")
        ]

    assert found == ["wal", 5000, 1]


async def test_workers_that_start_together_share_one_file(tmp_path: Path) -> None:
    """Neither fails on the other's lock, nor on tables that appear meanwhile."""
    stores = [Store(f"sqlite+aiosqlite:///{tmp_path}/auth.db") for _ in range(4)]

    await asyncio.gather(*(store.open() for store in stores))

    for store in stores:
        await store.ping()
        await store.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """One error of ours, whatever the driver says."""
    file = tmp_path / "auth.db"
    file.write_bytes(b"this is no database file at all, " * 64)
    store = Store(f"sqlite+aiosqlite:///{file}")

    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_path_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/file/auth.db")

    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()
