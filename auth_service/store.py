"""Users and clients in the database: the only module that runs SQL."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, exists, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from auth_service.exceptions import StoreUnavailable, UsernameTaken
from auth_service.models import Base, Client, ClientRow, User, Username, UserRow

BUSY_TIMEOUT_MILLISECONDS = 5_000
# Connections, each with a thread of its own. No overflow: under load it would open and close one
# for nearly every request.
POOL_SIZE = 8
_WAL_ATTEMPTS = 50
_WAL_PAUSE_SECONDS = 0.05


class Store:
    """The database of one service.

    Every method raises StoreUnavailable if the database does not answer, and leaves nothing half
    done: each is one transaction.

    Args:
        url: An SQLAlchemy address with an async driver, ``sqlite+aiosqlite:///PATH``. Directory and
            file are made on opening, readable by their owner only.
    """

    def __init__(self, url: str) -> None:
        # hide_parameters: an error's text reaches the log, and parameters are names and hashes.
        self._engine = create_async_engine(
            url, hide_parameters=True, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=5
        )
        event.listen(self._engine.sync_engine, "connect", _prepare_connection)
        event.listen(self._engine.sync_engine, "begin", _begin)
        self._reading = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writing = async_sessionmaker(
            self._engine.execution_options(writes=True), expire_on_commit=False
        )

    async def open(self) -> None:
        """Make the file and the tables where they are missing."""
        await asyncio.to_thread(self._make_file)
        await self._use_wal()
        try:
            async with self._engine.execution_options(writes=True).begin() as connection:
                # Under the write lock, so that two starting workers do not both create them.
                await connection.run_sync(Base.metadata.create_all)
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise StoreUnavailable from error

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def ping(self) -> None:
        """Ask the database for a sign of life."""
        async with self._session(self._reading) as session:
            await session.execute(text("SELECT 1"))

    async def user_by_name(self, name: Username) -> User | None:
        """Find a user by name, whatever its case."""
        async with self._session(self._reading) as session:
            row = await session.scalar(select(UserRow).where(UserRow.username_key == name.key))
            return row.value() if row else None

    async def user_by_id(self, user_id: str) -> User | None:
        """Find a user by the ``sub`` of a token."""
        async with self._session(self._reading) as session:
            row = await session.get(UserRow, user_id)
            return row.value() if row else None

    async def add_user(
        self, name: Username, *, password_hash: str, scope: str, demo: bool, now: int
    ) -> User:
        """Store a new user under a fresh random id.

        Raises:
            UsernameTaken: The name, or one of equal key, is in use. The database decides, so that
                of two at the same moment one wins.
        """
        row = UserRow(
            id=secrets.token_urlsafe(16),
            username=name.shown,
            username_key=name.key,
            password_hash=password_hash,
            scope=scope,
            disabled=False,
            demo=demo,
            created_at=now,
        )
        try:
            async with self._session(self._writing) as session:
                session.add(row)
        except IntegrityError:
            raise UsernameTaken("a user of this name exists already") from None
        return row.value()

    async def replace_password_hash(self, user: User, password_hash: str) -> None:
        """Store a new hash, unless somebody else replaced the one ``user`` carries meanwhile."""
        async with self._session(self._writing) as session:
            await session.execute(
                update(UserRow)
                .where(UserRow.id == user.id, UserRow.password_hash == user.password_hash)
                .values(password_hash=password_hash)
            )

    async def set_user_disabled(self, user_id: str, *, disabled: bool) -> None:
        """Refuse a user's logins and tokens from now on, or accept them again."""
        async with self._session(self._writing) as session:
            await session.execute(
                update(UserRow).where(UserRow.id == user_id).values(disabled=disabled)
            )

    async def has_demo_users(self) -> bool:
        """Say whether any user's password was made for a demonstration."""
        async with self._session(self._reading) as session:
            return bool(await session.scalar(select(exists().where(UserRow.demo))))

    async def client(self, client_id: str) -> Client | None:
        """Find a client by its id."""
        async with self._session(self._reading) as session:
            row = await session.get(ClientRow, client_id)
            return row.value() if row else None

    async def add_client(self, client: Client) -> bool:
        """Store a new client; False if one of its id exists, which is then left alone."""
        row = ClientRow(
            client_id=client.id,
            secret_hash=client.secret_hash,
            grants=" ".join(sorted(client.grants)),
            scope=" ".join(sorted(client.scopes)),
            disabled=client.disabled,
            created_at=client.created_at,
        )
        try:
            async with self._session(self._writing) as session:
                session.add(row)
        except IntegrityError:
            return False
        return True

    @asynccontextmanager
    async def _session(
        self, maker: async_sessionmaker[AsyncSession]
    ) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end; the driver's failures become ours."""
        try:
            async with maker.begin() as session:
                yield session
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise StoreUnavailable from error

    def _make_file(self) -> None:
        path = Path(self._engine.url.database or "")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would use the umask, and its WAL files copy the mode of the main one.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailable from error

    async def _use_wal(self) -> None:
        """Switch the file to write-ahead logging, which lets readers go on beside a writer.

        The switch is kept in the file. It wants the file for itself and does not always wait for
        busy_timeout, so a worker that starts beside another one asks again.
        """
        for attempt in range(_WAL_ATTEMPTS):
            try:
                async with self._engine.connect() as connection:
                    await connection.run_sync(_switch_to_wal)
            except (sqlite3.Error, DBAPIError) as error:
                if not _is_busy(error) or attempt == _WAL_ATTEMPTS - 1:
                    raise StoreUnavailable from error
                await asyncio.sleep(_WAL_PAUSE_SECONDS)
            else:
                return


def _prepare_connection(connection: Any, _record: object) -> None:  # noqa: ANN401 (the driver's)
    """Set up one SQLite connection; transactions are begun by `_begin` and by nobody else."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MILLISECONDS}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _switch_to_wal(connection: Connection) -> None:
    # On the driver's own cursor, because SQLite cannot switch inside of a transaction.
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    finally:
        cursor.close()


def _is_busy(error: Exception) -> bool:
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _begin(connection: Connection) -> None:
    """Begin a writing transaction with the write lock in hand, and a reading one not at all.

    A transaction that reads first and asks for the lock later fails with "database is locked" at
    once, whatever busy_timeout says. Reading is one statement here, which SQLite runs on its own;
    every statement more is another trip to the connection's thread.
    """
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
