"""Migrations: from nothing, from 0.1.0, twice, at once; and that they make what `tables` says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from auth_service.exceptions import SchemaError
from auth_service.models import Username
from auth_service.store import clients, migration, revocations, users
from auth_service.store.database import Database
from auth_service.store.tables import METADATA, REVISION
from tests.postgres_server import PostgresServer

# As 0.1.0 made them.
_FIRST = """
CREATE TABLE users (id VARCHAR(64) NOT NULL, username VARCHAR(64) NOT NULL,
    username_key VARCHAR(256) NOT NULL, password_hash TEXT NOT NULL, scope TEXT NOT NULL,
    disabled BOOLEAN NOT NULL, demo BOOLEAN NOT NULL, created_at BIGINT NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_username_key UNIQUE (username_key));
CREATE TABLE clients (client_id VARCHAR(64) NOT NULL, secret_hash VARCHAR(64),
    grants TEXT NOT NULL, scope TEXT NOT NULL, disabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL, CONSTRAINT pk_clients PRIMARY KEY (client_id));
INSERT INTO users VALUES
    ('u1', 'Alice', 'alice', '$argon2id$', 'connect', false, false, 1700000000);
INSERT INTO clients VALUES
    ('chat', NULL, 'password', 'connect', false, 1700000000),
    ('shop', 'a', 'password', 'connect', false, 1700000000)
"""


@pytest.fixture
def empty_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database without tables."""
    if database_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/auth.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create(tables=False)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    """An open database without tables."""
    opened = Database(empty_url)
    await opened.open()
    yield opened
    await opened.close()


async def _differences(database: Database) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        # Alembic does not understand SQLite's empty default.
        defaults = connection.dialect.name == "postgresql"
        options = {"compare_type": True, "compare_server_default": defaults}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, METADATA))

    async with database.read() as connection:
        return await connection.run_sync(compare)


async def _run(database: Database, *statements: str) -> None:
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_migrations_make_what_the_code_expects(empty: Database) -> None:
    """From nothing to this version: no table, column, index or constraint differs."""
    before = await migration.upgrade(empty)

    assert before.revision == ""
    assert (await migration.status(empty)).current
    assert await _differences(empty) == []


async def test_a_database_of_0_1_0_keeps_its_users(empty: Database) -> None:
    """That version said nothing about revisions."""
    await _run(empty, *_FIRST.split(";"))

    before = await migration.upgrade(empty)

    assert before.revision == "0001"
    assert await _differences(empty) == []
    async with empty.read() as connection:
        alice = await users.by_name(connection, Username.parse("alice"))
        assert alice is not None
        assert (alice.id, alice.created_at) == ("u1", 1_700_000_000)


async def test_public_clients_of_0_1_0_may_refresh_their_tokens(empty: Database) -> None:
    """As a default client that is made today; those with a secret are as they were."""
    await _run(empty, *_FIRST.split(";"))

    await migration.upgrade(empty)

    async with empty.read() as connection:
        grants = {client.id: client.grants for client in await clients.every(connection)}
    assert grants == {"chat": {"password", "refresh_token"}, "shop": {"password"}}


async def test_a_second_time_changes_nothing(empty: Database) -> None:
    """A job that is repeated does no harm; the log keeps its name."""
    await migration.upgrade(empty)
    async with empty.read() as connection:
        log = await revocations.position(connection)

    assert (await migration.upgrade(empty)).current

    async with empty.read() as connection:
        assert await revocations.position(connection) == log


async def test_two_at_once_do_it_once(empty: Database, empty_url: str) -> None:
    """One works, the others wait and find it done."""
    others = [Database(empty_url) for _ in range(3)]

    found = await asyncio.gather(*(migration.upgrade(other) for other in (empty, *others)))

    assert sorted(status.revision for status in found) == ["", REVISION, REVISION, REVISION]
    for other in others:
        await other.close()


async def test_a_failure_leaves_nothing_behind(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All revisions are one transaction, also where a later one fails."""

    def fail(_length: int) -> str:
        raise RuntimeError

    # What the last step of revision 2 calls.
    with monkeypatch.context() as patch:
        patch.setattr("secrets.token_urlsafe", fail)
        with pytest.raises(RuntimeError):
            await migration.upgrade(empty)

    assert (await migration.status(empty)).revision == ""
    await migration.upgrade(empty)


async def test_what_a_later_version_added_suits_this_one(empty: Database) -> None:
    """A pod of the old version starts in the middle of a rollout, or after it was taken back."""
    await migration.upgrade(empty)
    later = f"{REVISION[:2]}99"
    async with empty.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": later})

    found = await migration.status(empty)
    assert found.newer
    assert found.suits
    assert later in str(found)
    assert await migration.upgrade(empty) == found
    assert await migration.status(empty) == found


async def test_another_generation_is_left_alone(empty: Database) -> None:
    """What a later version has changed, this one might spoil."""
    await migration.upgrade(empty)
    await _run(empty, "UPDATE alembic_version SET version_num = '9999'")

    found = await migration.status(empty)
    assert found.newer
    assert not found.suits
    with pytest.raises(SchemaError, match="9999"):
        await migration.upgrade(empty)


def test_revisions_of_one_generation_only_add() -> None:
    """One that takes away, renames or changes begins the next one."""
    taking = re.compile(r"op\.(drop|alter|rename)_\w+")
    for path in sorted((migration.MIGRATIONS / "versions").glob("v*.py")):
        forward, _, _ = path.read_text("utf-8").partition("def downgrade")
        first = re.fullmatch(r"v\d\d00_\w+", path.stem)
        assert first or not taking.search(forward), path.name


async def test_tables_of_something_else_are_left_alone(empty: Database) -> None:
    """A wrong address must not get our tables on top."""
    await _run(empty, "CREATE TABLE orders (id INTEGER)")

    with pytest.raises(SchemaError, match="something else"):
        await migration.status(empty)
    with pytest.raises(SchemaError, match="something else"):
        await migration.upgrade(empty)


def test_the_code_names_the_last_revision() -> None:
    """So a serving process need not load Alembic to know."""
    config = Config()
    config.set_main_option("script_location", str(migration.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)

    revisions = [script.revision for script in scripts.walk_revisions()]

    assert scripts.get_heads() == [REVISION]
    assert all(re.fullmatch("[0-9]{4}", revision) for revision in revisions)
    assert revisions == sorted(revisions, reverse=True)
