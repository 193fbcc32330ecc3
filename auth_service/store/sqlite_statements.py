"""Single statements on SQLite: read where one stands, written by one thread in turns.

SQLite is a library: finding a few rows by their keys takes it some ten microseconds, and to ask
another thread for them takes ten times as long. So reading is done at once, on a connection that
never waits: in a write-ahead log no writer is in its way. If somebody is, as for a moment after a
crash, it is done in the thread that writes, and that one may wait.

Writing waits for the disk. All that was wanted while the disk was busy with one transaction is the
next one, so that it waits once for all of it. Callers are answered when that is committed. Within
the process writers take turns: SQLite's own way of waiting for a lock is to look again after a
while, up to a tenth of a second, and who comes later may be luckier.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from auth_service.store.statements import Statements
from auth_service.store.turns import Turns

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
        turns: Held by whoever writes in this process.
        patience_milliseconds: How long writing waits for a turn, and then for other processes.
    """

    def __init__(
        self,
        connect: Callable[[int], sqlite3.Connection],
        *,
        turns: Turns,
        patience_milliseconds: int,
    ) -> None:
        self._connect = connect
        self._turns = turns
        self._patience = patience_milliseconds
        self._reading: sqlite3.Connection | None = None
        self._writing: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writes")
        self._wanted: deque[_Wanted] = deque()
        self._working: asyncio.Task[None] | None = None

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
        self._wanted.append(wanted)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await wanted.answer

    @override
    def make_room(self) -> None:
        """Do nothing: its connections are none of the pool's."""

    @override
    def renew(self) -> None:
        """Do nothing: a file does not go away as a server does."""

    @override
    async def close(self) -> None:
        while self._working is not None:
            await asyncio.wait([self._working])
        await asyncio.to_thread(self._thread.shutdown)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writes")
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._reading = self._writing = None

    async def _work(self) -> None:
        """Write what is wanted, turn by turn, until nothing is."""
        loop = asyncio.get_running_loop()
        try:
            while self._wanted:
                together: list[_Wanted] = []
                try:
                    async with self._turns.take(brief=True, seconds=self._patience / 1000):
                        together = self._next()
                        await loop.run_in_executor(self._thread, self._write, together)
                except Exception as error:  # noqa: BLE001 (it is told to those who wait)
                    together = together or self._next()
                    for wanted in together:
                        wanted.error = error
                for wanted in together:
                    wanted.deliver()
        finally:
            self._working = None

    def _next(self) -> list[_Wanted]:
        count = min(len(self._wanted), MAX_TOGETHER)
        return [self._wanted.popleft() for _ in range(count)]

    def _write(self, together: Sequence[_Wanted]) -> None:
        """Run some statements in one transaction, in which one may fail without the others."""
        try:
            if self._writing is None:
                self._writing = self._connect(self._patience)
            connection = self._writing
            connection.execute("BEGIN IMMEDIATE")
            for wanted in together:
                try:
                    wanted.row = _first(connection, wanted.text, wanted.values)
                except Exception as error:  # what is wrong with a value is no error of SQLite's
                    if not connection.in_transaction:
                        raise
                    wanted.error = error
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 (it is told to those who wait)
            for wanted in together:
                wanted.error = wanted.error or error
            if self._writing is not None:
                # Nobody knows what state it is in.
                self._writing.close()
                self._writing = None


def _first(connection: sqlite3.Connection, text: str, values: Sequence[Any]) -> Row | None:
    # All rows: a statement that is left half-way keeps a transaction open.
    rows = connection.execute(text, values).fetchall()
    return rows[0] if rows else None
