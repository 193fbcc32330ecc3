"""Single statements on SQLite: at once, and in turns."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from auth_service.store.sqlite_statements import MAX_TOGETHER, SQLiteStatements
from auth_service.store.turns import Turns

INSERT = "INSERT INTO things VALUES (?) RETURNING name"
PATIENCE_MILLISECONDS = 20_000


class File:
    """A file with one table, and what was said to it and by which thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.said: list[tuple[str, int]] = []
        #: Another thread than the test's has said something.
        self.begun = threading.Event()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY)")
        connection.close()

    def connect(self, patience_milliseconds: int) -> sqlite3.Connection:
        """Open it."""
        connection = sqlite3.connect(
            self._path, check_same_thread=False, isolation_level=None, timeout=0
        )
        connection.execute(f"PRAGMA busy_timeout={patience_milliseconds}")
        connection.set_trace_callback(self._note)
        return connection

    def _note(self, text: str) -> None:
        self.said.append((text.partition(" ")[0], threading.get_ident()))
        if threading.current_thread() is not threading.main_thread():
            self.begun.set()

    @property
    def verbs(self) -> list[str]:
        """The first words of all that was said."""
        return [verb for verb, _ in self.said]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """An empty table."""
    return File(tmp_path / "things.db")


@pytest.fixture
async def statements(file: File) -> AsyncIterator[SQLiteStatements]:
    """The subject."""
    made = SQLiteStatements(
        file.connect, turns=Turns(), patience_milliseconds=PATIENCE_MILLISECONDS
    )
    yield made
    await made.close()


@pytest.fixture
def other(file: File) -> Iterator[sqlite3.Connection]:
    """Somebody else with the same file."""
    connection = file.connect(PATIENCE_MILLISECONDS)
    yield connection
    connection.close()


def _names(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM things")}


async def test_reading_asks_no_other_thread(statements: SQLiteStatements, file: File) -> None:
    """It takes less time than asking."""
    assert await statements.run("SELECT 1, 'x'", [], writes=False) == (1, "x")
    assert await statements.run("SELECT name FROM things", [], writes=False) is None

    assert file.said == [("SELECT", threading.get_ident())] * 2


async def test_reading_sees_what_was_answered(statements: SQLiteStatements) -> None:
    """An answer comes after the commit."""
    assert await statements.run(INSERT, ["a"], writes=True) == ("a",)

    assert await statements.run("SELECT name FROM things", [], writes=False) == ("a",)


async def test_what_comes_while_the_disk_is_busy_is_one_transaction(
    statements: SQLiteStatements, file: File, other: sqlite3.Connection
) -> None:
    """The disk is waited for once; here another writer stands for the disk."""
    other.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(statements.run(INSERT, ["first"], writes=True))
    assert await asyncio.to_thread(file.begun.wait, 30)
    names = [f"{number}" for number in range(MAX_TOGETHER + 1)]
    rest = [asyncio.create_task(statements.run(INSERT, [name], writes=True)) for name in names]
    await asyncio.sleep(0)
    file.said.clear()
    other.execute("COMMIT")

    assert await first == ("first",)
    assert await asyncio.gather(*rest) == [(name,) for name in names]
    # Our first one, what fits into one transaction, and what does not.
    assert file.verbs.count("COMMIT") == 1 + 3
    assert _names(other) == {"first", *names}


async def test_one_that_fails_does_not_take_others_with_it(
    statements: SQLiteStatements, other: sqlite3.Connection
) -> None:
    """Each is told of its own luck."""
    other.execute("BEGIN IMMEDIATE")  # so that they come together
    values: list[list[object]] = [["a"], ["a"], ["b"], [object()], ["c"]]
    wanted = [asyncio.create_task(statements.run(INSERT, one, writes=True)) for one in values]
    await asyncio.sleep(0)
    other.execute("COMMIT")

    results = await asyncio.gather(*wanted, return_exceptions=True)

    assert [results[place] for place in (0, 2, 4)] == [("a",), ("b",), ("c",)]
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert isinstance(results[3], sqlite3.Error)
    assert _names(other) == {"a", "b", "c"}


async def test_a_commit_that_fails_is_told_to_all_and_the_next_one_is_served(
    file: File, other: sqlite3.Connection
) -> None:
    """Nothing was changed; another writer has the file for longer than the patience lasts."""
    statements = SQLiteStatements(file.connect, turns=Turns(), patience_milliseconds=1)
    other.execute("BEGIN IMMEDIATE")

    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await statements.run(INSERT, ["a"], writes=True)
    other.execute("COMMIT")

    assert await statements.run(INSERT, ["a"], writes=True) == ("a",)
    await statements.close()


async def test_reading_waits_in_the_thread_if_it_has_to(
    statements: SQLiteStatements, file: File, other: sqlite3.Connection
) -> None:
    """The loop goes on; the file is somebody's own, as after a crash for a moment."""
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    reading = asyncio.create_task(statements.run("SELECT 1 FROM things", [], writes=False))
    await asyncio.sleep(0)
    assert not reading.done()
    other.execute("COMMIT")
    other.execute("PRAGMA locking_mode=NORMAL")
    _names(other)  # lets go of the file

    assert await reading is None
    assert {thread for verb, thread in file.said if verb == "BEGIN"} - {threading.get_ident()}


async def test_who_has_gone_is_not_answered(
    statements: SQLiteStatements, other: sqlite3.Connection
) -> None:
    """What he wanted is done all the same, and the others are answered."""
    other.execute("BEGIN IMMEDIATE")
    gone = asyncio.create_task(statements.run(INSERT, ["gone"], writes=True))
    staying = asyncio.create_task(statements.run(INSERT, ["staying"], writes=True))
    await asyncio.sleep(0)
    gone.cancel()
    other.execute("COMMIT")

    assert await staying == ("staying",)
    assert gone.cancelled()
    assert _names(other) == {"gone", "staying"}


async def test_closing_finishes_what_is_wanted(file: File, other: sqlite3.Connection) -> None:
    """And what comes later opens the file again."""
    statements = SQLiteStatements(
        file.connect, turns=Turns(), patience_milliseconds=PATIENCE_MILLISECONDS
    )
    wanted = [
        asyncio.create_task(statements.run(INSERT, [name], writes=True)) for name in ("a", "b")
    ]
    await asyncio.sleep(0)

    await statements.close()

    assert await asyncio.gather(*wanted) == [("a",), ("b",)]
    assert await statements.run(INSERT, ["c"], writes=True) == ("c",)
    await statements.close()
    assert _names(other) == {"a", "b", "c"}


async def test_writers_of_one_process_take_turns(file: File, other: sqlite3.Connection) -> None:
    """A transaction that is under way elsewhere in this process is waited for without looking."""
    turns = Turns()
    statements = SQLiteStatements(
        file.connect, turns=turns, patience_milliseconds=PATIENCE_MILLISECONDS
    )
    async with turns.take(brief=False):
        other.execute("BEGIN IMMEDIATE")
        wanted = asyncio.create_task(statements.run(INSERT, ["a"], writes=True))
        await asyncio.sleep(0)
        other.execute("COMMIT")
        assert not file.begun.is_set()

    assert await wanted == ("a",)
    await statements.close()


async def test_a_turn_that_does_not_come_is_told(file: File) -> None:
    """Somebody in this process writes for longer than anybody waits."""
    turns = Turns()
    statements = SQLiteStatements(file.connect, turns=turns, patience_milliseconds=10)
    async with turns.take(brief=False):
        with pytest.raises(TimeoutError):
            await statements.run(INSERT, ["a"], writes=True)

    await statements.close()
