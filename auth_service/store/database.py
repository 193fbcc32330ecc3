"""One database, SQLite or PostgreSQL: how it is opened, and transactions that end well."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, ExceptionContext, event, literal, make_url, select, text
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    TimeoutError as PoolTimeout,
)
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import QueuePool

from auth_service.exceptions import StoreUnavailable
from auth_service.metrics import Metrics
from auth_service.store.audit_events import STORED
from auth_service.store.clients import CHANGED
from auth_service.store.postgresql_statements import READ_ONLY, PostgreSQLStatements
from auth_service.store.prepared import Prepared
from auth_service.store.revocations import APPENDED
from auth_service.store.sqlite_statements import SQLiteStatements
from auth_service.store.statements import Statements
from auth_service.store.turns import Turns

BUSY_TIMEOUT_MILLISECONDS = 5_000
_WAL_ATTEMPTS = 50
_WAL_PAUSE_SECONDS = 0.05
# TimeoutError is an OSError.
_FAILURES = (DBAPIError, InterfaceError, PoolTimeout, OSError)
_PING = Prepared(select(literal(1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of a database one process takes, and how long it waits for it.

    Attributes:
        connections: Kept open at most. There is no overflow: under load it would open and close a
            connection for nearly every request.
        seconds: On PostgreSQL, for a transaction from the wait for a connection to the commit.
        tls: PostgreSQL's ``sslmode``.
    """

    connections: int = 8
    seconds: float = 5.0
    tls: str = "prefer"


_BOUNDS = Bounds()


class Database:
    """The database of one service.

    On PostgreSQL a connection that was cut while it lay in the pool is noticed before it is used,
    and replaced: after a restart of the server no request fails because of that. It costs no round
    trip, because the driver has seen the end of the stream.

    Args:
        url: An SQLAlchemy address with an async driver: ``sqlite+aiosqlite:///PATH``, whose
            directory and file are made on opening, readable by their owner only, or
            ``postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME``.
        bounds: How much of it is used.
        metrics: Where its use is counted; nowhere unless given.
    """

    def __init__(
        self, url: str, *, bounds: Bounds = _BOUNDS, metrics: Metrics | None = None
    ) -> None:
        self._bounds = bounds
        self._metrics = metrics or Metrics()
        self._sqlite = make_url(url).get_backend_name() == "sqlite"
        # SQLite has one writer at a time.
        self._turns = Turns()
        # hide_parameters: an error's text reaches the log, and parameters are names and hashes.
        self._engine = create_async_engine(
            url,
            hide_parameters=True,
            pool_size=bounds.connections,
            max_overflow=0,
            pool_reset_on_return=None if self._sqlite else "rollback",
            pool_timeout=bounds.seconds,
            connect_args={} if self._sqlite else _connect_arguments(bounds),
        )
        engine = self._engine.sync_engine
        if self._sqlite:
            event.listen(engine, "connect", _prepare_pooled)
            event.listen(engine, "begin", _begin)
            event.listen(engine, "reset", _roll_back)
            self._reading = self._engine
            self._statements: Statements = SQLiteStatements(
                self._open_file, turns=self._turns, patience_milliseconds=BUSY_TIMEOUT_MILLISECONDS
            )
            self._failures: tuple[type[Exception], ...] = _FAILURES
        else:
            event.listen(engine, "checkout", _refuse_cut_connection)
            event.listen(engine, "handle_error", self._drop_what_cannot_write)
            # A single statement needs no transaction around it: two round trips less.
            self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            # What the driver itself says. Those without PostgreSQL do not import it.
            from asyncpg import InterfaceError, PostgresError  # noqa: PLC0415

            self._failures = (*_FAILURES, PostgresError, InterfaceError)
            self._statements = PostgreSQLStatements(self._engine, at_hand=bounds.connections // 2)
        # What SQLAlchemy makes of that while it connects, and SQLite's own.
        self._failures = (*self._failures, engine.dialect.loaded_dbapi.Error)
        self._writing = self._engine.execution_options(writes=True)
        #: Told how many revocations a transaction has appended, once it is committed.
        self.on_revocations: Callable[[int], None] = lambda _: None
        #: Told that a transaction has changed clients, once it is committed.
        self.on_clients: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Make SQLite's file where it is missing, and see that the database answers.

        What is in it is `store.migration`'s.

        Raises:
            StoreUnavailable: It cannot be opened.
        """
        if self._sqlite:
            await asyncio.to_thread(self._make_file)
            await self._use_wal()
        await self.ping()

    async def close(self) -> None:
        """Close all connections."""
        await self._statements.close()
        await self._engine.dispose()

    async def ping(self) -> None:
        """Ask the database for a sign of life."""
        await self.row(_PING)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give out a connection for reading; each statement sees what was committed before it.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        self._statements.make_room()
        async with self._counted("read", self._bounds.seconds), self._reading.connect() as found:
            yield found

    @asynccontextmanager
    async def write(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give out a connection inside one transaction, which is committed at the end.

        It is rolled back if the block raises. On SQLite the write lock is taken first, so that what
        was read stays true. On PostgreSQL the isolation is READ COMMITTED: decide by conditional
        statements.

        Args:
            patient: Whether it may take as long as it takes; not for what somebody waits for.

        Raises:
            IntegrityError: A constraint refuses the change (SQLAlchemy's own error).
            StoreUnavailable: The database does not answer; nothing was changed, or the answer to
                the commit was lost.
        """
        seconds = None if patient else self._bounds.seconds
        self._statements.make_room()
        async with (
            self._counted("write", seconds),
            self._turn(patient=patient),
            self._writing.begin() as connection,
        ):
            if patient and not self._sqlite:
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
            for note in (APPENDED, CHANGED, STORED):  # of a transaction that was rolled back
                connection.info.pop(note, None)
            yield connection
            appended = connection.info.pop(APPENDED, 0)
            changed = connection.info.pop(CHANGED, False)
            stored = connection.info.pop(STORED, ())
        for event_name, outcome in stored:
            self._metrics.audit_events.labels(event_name, outcome).inc()
        if changed:
            self.on_clients()
        if appended:
            self.on_revocations(appended)

    async def row(self, statement: Prepared, **values: Any) -> Any | None:  # noqa: ANN401
        """Run one statement in a transaction of its own; returns its first row.

        Raises:
            StoreUnavailable: The database does not answer; if the statement writes, the answer
                may be all that was lost.
        """
        text, ordered = statement.written(self._engine.dialect, values)
        kind = "write" if statement.writes else "read"
        async with self._counted(kind, self._bounds.seconds):
            return await self._statements.run(text, ordered, writes=statement.writes)

    @asynccontextmanager
    async def _turn(self, *, patient: bool) -> AsyncIterator[None]:
        """Wait on SQLite until nobody else in this process writes."""
        if not self._sqlite:
            yield
            return
        seconds = None if patient else BUSY_TIMEOUT_MILLISECONDS / 1000
        async with self._turns.take(brief=False, seconds=seconds):
            yield

    @asynccontextmanager
    async def _counted(self, kind: str, seconds: float | None) -> AsyncIterator[None]:
        """Measure a transaction and say in one word of ours how it failed."""
        began = time.perf_counter()
        pool = self._engine.sync_engine.pool
        in_use = cast("QueuePool", pool).checkedout() - self._statements.idle
        self._metrics.db_pool_in_use.observe(in_use)
        try:
            if self._sqlite:
                # A thread cannot be interrupted; busy_timeout bounds it.
                yield
            else:
                # Cancels what waits, which drops the connection: a server that has vanished
                # without a word would keep it for minutes.
                async with asyncio.timeout(seconds):
                    yield
        except IntegrityError:
            raise
        except self._failures as error:
            self._metrics.db_failures.labels(kind).inc()
            raise StoreUnavailable from error
        finally:
            self._metrics.db_query_duration.labels(kind).observe(time.perf_counter() - began)

    def _drop_what_cannot_write(self, context: ExceptionContext) -> None:
        """Let go of a server that has become a standby, for its address may name another by now."""
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True
            self._statements.renew()

    def _open_file(self, patience_milliseconds: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self._engine.url.database or "", check_same_thread=False)
        _prepare_connection(connection, patience_milliseconds)
        return connection

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


def _prepare_pooled(connection: Any, _record: object) -> None:  # noqa: ANN401 (the driver's)
    _prepare_connection(connection, BUSY_TIMEOUT_MILLISECONDS)


def _prepare_connection(connection: Any, patience_milliseconds: int) -> None:  # noqa: ANN401
    """Set up one SQLite connection; it begins no transaction by itself."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={patience_milliseconds}")
    cursor.execute("PRAGMA foreign_keys=ON")
    # FULL: what was answered survives a loss of power too, a rotated refresh token above all.
    cursor.execute("PRAGMA synchronous=FULL")
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


def _roll_back(connection: Any, _record: object, _state: object) -> None:  # noqa: ANN401 (the driver's)
    """End what somebody has left open; otherwise spare the trip to the connection's thread."""
    if connection.driver_connection.in_transaction:
        connection.rollback()


def _connect_arguments(bounds: Bounds) -> dict[str, Any]:
    """Say how PostgreSQL is connected to, and what it is to give up by itself.

    The server ends what a vanished process of ours has left behind; the driver's own limit is for a
    rollback, which nothing else bounds.
    """
    milliseconds = str(round(bounds.seconds * 1000))
    return {
        "timeout": bounds.seconds,
        "command_timeout": 2 * bounds.seconds,
        "ssl": bounds.tls,
        "server_settings": {
            "application_name": "drawbridge-auth",
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            # Compiling pays for queries of seconds; the planner would do it for none of ours.
            "jit": "off",
        },
    }


def _refuse_cut_connection(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401
    """Have the pool replace a connection whose server has gone."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
