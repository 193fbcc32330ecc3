"""Single statements on SQLite: read where one stands, written by one thread in turns.

SQLite is a library: finding a few rows by their keys takes it some ten microseconds, and to ask
another thread for them takes ten times as long. So reading is done at once, on a connection that
never waits: in a write-ahead log no writer is in its way. If somebody is, as for a moment after a
crash, it is done in the thread that writes, and that one may wait.

Writing waits for the disk. All that was wanted while the disk was busy with one transaction is the
next one, so that it waits once for all of it. Callers are answered when that is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from typing_extensions import override

from auth_service.store.statements import Statements

#: Statements of one transaction at most: nobody waits for more than so many others.
MAX_TOGETHER = 64
# The rest of an error's number says more than anybody wants to know.
_KIND = 0xFF
_IN_USE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
Row = tuple[Any, ...]


@dataclass(slots=True)
class _Wanted:
    """A statement that waits for its turn.

    Args:
        text: SQL.
        values: In its order.
        answer: Who waits for its first row.
        row: What came of it.
        error: Or why nothing did.
    """

    text: str
    values: Sequence[Any]
    answer: asyncio.Future[Row | None]
    row: Row | None = None
    error: Exception | None = None

    def deliver(self) -> None:
        """Tell who waits, unless he has gone."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.row)


class SQLiteStatements(Statements):
    """Runs them on one file, which is opened when the first one comes.

    Args:
        connect: Opens a connection that any thread may use and that begins no transactions by
            itself; the argument is for how many milliseconds it waits for others' locks.
        patience_milliseconds: Of the writing one.
    """

    def __init__(
        self, connect: Callable[[int], sqlite3.Connection], *, patience_milliseconds: int
    ) -> None:
        self._connect = connect
        self._patience = patience_milliseconds
        self._reading: sqlite3.Connection | None = None
        self._wanted: SimpleQueue[_Wanted | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    @override
    def idle(self) -> int:
        return 0

    @override
    async def run(self, text: str, values: Sequence[Any], *, writes: bool) -> Row | None:
        if not writes:
            try:
                if self._reading is None:
                    self._reading = self._connect(0)
                return _first(self._reading, text, values)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _KIND not in _IN_USE:
                    raise
        wanted = _Wanted(text, values, asyncio.get_running_loop().create_future())
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sqlite-writes", daemon=True)
            self._thread.start()
        self._wanted.put(wanted)
        return await wanted.answer

    @override
    def make_room(self) -> None:
        """Do nothing: its connections are none of the pool's."""

    @override
    def renew(self) -> None:
        """Do nothing: a file does not go away as a server does."""

    @override
    async def close(self) -> None:
        if self._thread is not None:
            self._wanted.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        going_on = True
        while going_on:
            together, going_on = self._next()
            if not together:
                break
            try:
                if connection is None:
                    connection = self._connect(self._patience)
                _run(connection, together)
            except Exception as error:  # noqa: BLE001 (it is told to those who wait)
                for wanted in together:
                    wanted.error = wanted.error or error
                if connection is not None:
                    # Nobody knows what state it is in.
                    connection.close()
                    connection = None
            _deliver(together)
        if connection is not None:
            connection.close()

    def _next(self) -> tuple[list[_Wanted], bool]:
        """Wait for a statement, and take all that is there; says whether there may be more."""
        together: list[_Wanted] = []
        while len(together) < MAX_TOGETHER and not (together and self._wanted.empty()):
            wanted = self._wanted.get()
            if wanted is None:
                return together, False
            together.append(wanted)
        return together, True


def _run(connection: sqlite3.Connection, together: Sequence[_Wanted]) -> None:
    """Run some statements in one transaction, in which one may fail without the others."""
    connection.execute("BEGIN IMMEDIATE")
    for wanted in together:
        try:
            wanted.row = _first(connection, wanted.text, wanted.values)
        except Exception as error:  # what is wrong with a value is no error of SQLite's
            if not connection.in_transaction:
                raise
            wanted.error = error
    connection.execute("COMMIT")


def _first(connection: sqlite3.Connection, text: str, values: Sequence[Any]) -> Row | None:
    # All rows: a statement that is left half-way keeps a transaction open.
    rows = connection.execute(text, values).fetchall()
    return rows[0] if rows else None


def _deliver(together: Sequence[_Wanted]) -> None:
    def deliver() -> None:
        for wanted in together:
            wanted.deliver()

    with contextlib.suppress(RuntimeError):  # the loop ended before the disk answered
        together[0].answer.get_loop().call_soon_threadsafe(deliver)
