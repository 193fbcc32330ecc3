"""The database: opening, files, transactions."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, event, func, literal_column, select, text, update

from auth_service.exceptions import StoreUnavailable
from auth_service.models import Username
from auth_service.store import audit_events, users
from auth_service.store.database import Bounds, Database
from auth_service.store.prepared import Prepared
from auth_service.store.tables import AUDIT_EVENTS, USERS
from tests.databases import open_migrated
from tests.postgres_server import PostgresServer

_EVENT: dict[str, Any] = {
    "at": 1,
    "event": "login",
    "outcome": "success",
    "actor": "",
    "subject": "",
    "client_id": "",
    "address": "",
    "request_id": "",
    "reason": "",
}


async def _migrated(path: Path) -> Database:
    return await open_migrated(f"sqlite+aiosqlite:///{path}")


async def _add(database: Database, name: str) -> str:
    async with database.write() as connection:
        user = await users.add(
            connection,
            Username.parse(name),
            password_hash="$hash",
            scope="connect",
            demo=False,
            now=1,
        )
    return user.id


async def test_parallel_writers_wait_for_each_other(database: Database) -> None:
    """BEGIN IMMEDIATE: nobody gets `database is locked`."""
    await asyncio.gather(*(_add(database, f"user{number}") for number in range(30)))

    async with database.read() as connection:
        assert await users.by_name(connection, Username.parse("user29")) is not None


async def test_a_block_that_fails_leaves_nothing_behind(database: Database) -> None:
    """One transaction, whole or not at all."""

    async def fail() -> None:
        async with database.write() as connection:
            await users.add(
                connection,
                Username.parse("alice"),
                password_hash="$hash",
                scope="connect",
                demo=False,
                now=1,
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    async with database.read() as connection:
        assert await users.by_name(connection, Username.parse("alice")) is None


async def test_files_are_for_their_owner(tmp_path: Path) -> None:
    """Hashes of passwords are in the main file and in the log beside it."""
    database = await _migrated(tmp_path / "deep/er/auth.db")

    await _add(database, "alice")

    for file in (tmp_path / "deep/er").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    await database.close()


async def test_pragmas_are_set(tmp_path: Path) -> None:
    """Write-ahead log, waiting, foreign keys, and what was answered is on the disk."""
    database = await _migrated(tmp_path / "auth.db")

    async with database._engine.connect() as connection:
        found = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
        ]

    assert found == ["wal", 5000, 1, 2]
    await database.close()


async def test_workers_that_start_together_share_one_file(tmp_path: Path) -> None:
    """None fails on another's lock."""
    databases = [Database(f"sqlite+aiosqlite:///{tmp_path}/auth.db") for _ in range(4)]

    await asyncio.gather(*(database.open() for database in databases))

    for database in databases:
        await database.ping()
        await database.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """One error of ours, whatever the driver says."""
    file = tmp_path / "auth.db"
    file.write_bytes(b"this is no database file at all, " * 64)
    database = Database(f"sqlite+aiosqlite:///{file}")

    with pytest.raises(StoreUnavailable):
        await database.open()
    await database.close()


async def test_a_path_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/auth.db")

    with pytest.raises(StoreUnavailable):
        await database.open()
    await database.close()


async def _frozen(server: PostgresServer, database: Database) -> float:
    """Ask a server that has stopped moving; returns the seconds until it was given up."""
    began = time.perf_counter()
    server.freeze()
    try:
        with pytest.raises(StoreUnavailable):
            await database.ping()
    finally:
        server.thaw()
    return time.perf_counter() - began


async def test_a_server_that_says_nothing_is_given_up(own_postgres: PostgresServer) -> None:
    """Its host has lost the network: nobody closes the connection."""
    url = own_postgres.url(own_postgres.create())
    database = Database(url, bounds=Bounds(connections=2, seconds=0.3))
    await database.open()

    waited = await _frozen(own_postgres, database)

    assert waited < 4
    await database.ping()
    await database.close()


async def test_after_a_restart_no_request_fails(own_postgres: PostgresServer) -> None:
    """All connections of the pool were cut; each is replaced before it is used."""
    database = Database(own_postgres.url(own_postgres.create()), bounds=Bounds(connections=8))
    await database.open()
    meet = asyncio.Barrier(8)

    async def use() -> None:
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))
            await meet.wait()

    await asyncio.gather(*(use() for _ in range(8)))
    own_postgres.kill()
    with pytest.raises(StoreUnavailable):
        await database.ping()
    own_postgres.start()

    await asyncio.gather(*(use() for _ in range(8)))

    await database.close()


async def test_a_killed_server_loses_nothing_that_was_committed(
    own_postgres: PostgresServer,
) -> None:
    """What was answered was in the log of the database."""
    database = Database(own_postgres.url(own_postgres.create()))
    await database.open()
    await _add(database, "alice")

    own_postgres.kill()
    with pytest.raises(StoreUnavailable):
        await _add(database, "bob")
    own_postgres.start()

    async with database.read() as connection:
        assert await users.by_name(connection, Username.parse("alice")) is not None
        assert await users.by_name(connection, Username.parse("bob")) is None
    await database.close()


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("a statement that takes too long", "SELECT pg_sleep(9)"),
        ("a connection that is cut", "SELECT pg_terminate_backend(pg_backend_pid())"),
        (
            "a serialization failure",
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$",
        ),
        ("a deadlock", "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"),
        ("a full disk", "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$"),
    ],
)
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_what_postgresql_refuses_is_unavailable(
    postgres: PostgresServer, what: str, statement: str, kind: str
) -> None:
    """Whatever it is, the caller may try again; and the next one is served."""
    assert what
    name = postgres.create()
    database = Database(postgres.url(name), bounds=Bounds(seconds=0.5))
    await database.open()

    with pytest.raises(StoreUnavailable):
        async with database.write() if kind == "write" else database.read() as connection:
            await connection.execute(text(statement))

    await database.ping()
    await database.close()
    postgres.drop(name)


async def test_a_server_that_became_a_standby_is_left(postgres: PostgresServer) -> None:
    """Behind the same address another one may write by now: connections are made anew."""
    name = postgres.create()
    database = Database(postgres.url(name), bounds=Bounds(connections=1))
    await database.open()
    postgres.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with database.read() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))

    with pytest.raises(StoreUnavailable):
        await _add(database, "alice")
    postgres.ask(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    await _add(database, "alice")
    await database.close()
    postgres.drop(name)


@pytest.mark.parametrize(
    ("bounds", "change"),
    [
        (Bounds(), lambda url: url.replace("drawbridge:", "drawbridge:wrong")),
        (Bounds(), lambda url: url.replace("127.0.0.1", "127.0.0.9")),
        (Bounds(), lambda url: f"{url}x"),
        (Bounds(tls="require"), lambda url: url),
    ],
    ids=["password", "address", "name", "tls"],
)
async def test_a_server_that_lets_nobody_in_is_unavailable(
    postgres: PostgresServer, bounds: Bounds, change: Callable[[str], str]
) -> None:
    """And no password is in what is told about it."""
    url = change(postgres.url("postgres"))
    database = Database(url, bounds=bounds)

    with pytest.raises(StoreUnavailable) as refused:
        await database.open()

    password = url.split("@", maxsplit=1)[0].rpartition(":")[2]
    assert password not in "".join(traceback.format_exception(refused.value))
    await database.close()


async def test_too_many_connections_are_unavailable() -> None:
    """Another program has taken all that the server allows."""
    server = PostgresServer({"max_connections": "4", "superuser_reserved_connections": "0"})
    databases: list[Database] = []
    try:
        server.start()
        url = server.url("postgres")
        databases = [Database(url, bounds=Bounds(connections=4)) for _ in range(2)]
        meet = asyncio.Barrier(4)

        async def hold() -> None:
            async with databases[0].read() as connection:
                await connection.execute(text("SELECT 1"))
                await meet.wait()

        await asyncio.gather(*(hold() for _ in range(4)))
        with pytest.raises(StoreUnavailable):
            await databases[1].open()
        await databases[0].close()

        await databases[1].open()
    finally:
        for database in databases:
            await database.close()
        server.remove()


async def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path) -> None:
    """SQLite may not grow: the transaction is undone, and reading goes on."""
    database = await _migrated(tmp_path / "auth.db")
    await _add(database, "alice")
    async with database._engine.connect() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()

    def limit(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
        connection.execute(f"PRAGMA max_page_count={pages}")

    await database.close()
    event.listen(database._engine.sync_engine, "connect", limit)

    async def fill() -> None:
        async with database.write() as connection:
            for _ in range(1000):
                await audit_events.append(connection, **{**_EVENT, "reason": "x" * 64})

    with pytest.raises(StoreUnavailable):
        await fill()

    async with database.read() as connection:
        assert await users.by_name(connection, Username.parse("alice")) is not None
        count = await connection.execute(select(func.count()).select_from(AUDIT_EVENTS))
        assert count.scalar_one() == 0
    await database.close()


async def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """The file system was mounted read-only, say; query_only stands for it, for root may write."""
    database = await _migrated(tmp_path / "auth.db")
    await database.close()

    def read_only(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
        connection.execute("PRAGMA query_only=ON")

    event.listen(database._engine.sync_engine, "connect", read_only)

    with pytest.raises(StoreUnavailable):
        await _add(database, "alice")

    await database.ping()
    await database.close()


async def test_use_and_failure_are_counted(database: Database) -> None:
    """What Prometheus sees."""
    await database.ping()
    with pytest.raises(StoreUnavailable):
        async with database.read() as connection:
            await connection.execute(text("SELECT nothing"))

    registry = database._metrics.registry
    assert registry.get_sample_value("auth_db_failures_total", {"kind": "read"}) == 1
    count = registry.get_sample_value("auth_db_query_duration_seconds_count", {"kind": "read"})
    assert count
    assert count >= 2
    assert registry.get_sample_value("auth_db_pool_in_use_count")


_RENAME = Prepared(
    update(USERS)
    .where(USERS.c.username == bindparam("name"))
    .values(username=bindparam("wanted"))
    .returning(USERS.c.username)
)


async def test_a_single_statement_is_a_transaction(database_url: str) -> None:
    """It is committed when it answers; another connection sees it."""
    database, other = await open_migrated(database_url), Database(database_url)
    await _add(database, "alice")

    renamed = await database.row(_RENAME, name="alice", wanted="Alice")
    assert renamed is not None
    assert tuple(renamed) == ("Alice",)
    assert await database.row(_RENAME, name="nobody", wanted="x") is None

    found = await other.row(Prepared(select(USERS.c.username)))
    assert found is not None
    assert tuple(found) == ("Alice",)
    await other.close()
    await database.close()


async def test_a_single_statement_that_fails_leaves_no_connection_behind(database_url: str) -> None:
    """It says in a word of ours that it failed, as often as one likes; the next one is served."""
    bounds = Bounds(connections=2, seconds=1)
    database = Database(database_url, bounds=bounds)
    await database.open()
    wrong = Prepared(select(literal_column("no_such_column")))

    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await database.row(wrong)

    await database.ping()
    await database.close()


async def test_a_single_statement_that_is_given_up_leaves_no_connection_behind(
    database_url: str,
) -> None:
    """Whoever asked has gone."""
    await (await open_migrated(database_url)).close()
    database = Database(database_url, bounds=Bounds(connections=1, seconds=5))
    await database.open()

    for _ in range(5):
        asked = asyncio.create_task(database.row(_RENAME, name="x", wanted="y"))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    await database.ping()
    await database.close()
