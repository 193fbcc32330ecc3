"""PostgreSQL: a cluster of our own, made once, closed to strangers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from infra.embedded.local_directory import LocalDirectory
from infra.stack import postgresql
from infra.stack.exceptions import StackError
from tests.postgres_server import PostgresServer


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that PostgreSQL's own user may enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_a_cluster_is_made_once(directory: Path) -> None:
    """A second start finds the first one's data."""
    data = directory / "data"
    postgresql.initialise(data, "secret")
    before = (data / "global/pg_control").stat()

    postgresql.initialise(data, "secret")

    assert (data / "global/pg_control").stat() == before
    assert data.stat().st_mode & 0o077 == 0


def test_tcp_wants_the_password(postgres: PostgresServer) -> None:
    """Every local user can reach the port."""
    host = f"127.0.0.1:{postgres.port}"

    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(asyncpg.connect(f"postgresql://{postgresql.ROLE}:wrong@{host}/postgres"))


def test_it_listens_on_loopback_only(postgres: PostgresServer) -> None:
    """Nobody outside the machine is to try passwords."""
    assert postgres.ask("SHOW listen_addresses") == "127.0.0.1"
    assert postgres.ask("SHOW password_encryption") == "scram-sha-256"


def test_a_directory_that_cannot_be_used_is_one_line(directory: Path) -> None:
    """What initdb says, without its chatter."""
    (directory / "data").mkdir()
    (directory / "data/something").write_text("")

    with pytest.raises(StackError) as refused:
        postgresql.initialise(directory / "data", "secret")

    assert "not empty" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_interrupted_start_leaves_nothing_in_the_way(directory: Path) -> None:
    """Half a cluster is never taken for a whole one."""
    (directory / "data.new").mkdir()
    (directory / "data.new/PG_VERSION").write_text("15")

    postgresql.initialise(directory / "data", "secret")

    assert (directory / "data/global/pg_control").exists()
    assert not (directory / "data.new").exists()


def test_the_password_is_made_once_and_kept_in_the_address(directory: Path) -> None:
    """For its owner's eyes; another port is another address with the same password."""
    local = LocalDirectory(str(directory / "postgresql"))

    first = postgresql.keep_password(local, 5490)
    second = postgresql.keep_password(local, 5491)

    file = local.path(postgresql.URL_FILE)
    assert first == second
    assert len(first) >= 24
    assert file.read_text() == f"{postgresql.url(5491, first)}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_data_without_their_password_are_not_opened_with_another(directory: Path) -> None:
    """It would be refused at every connection; the line says what to do."""
    (directory / "data").mkdir()
    (directory / "data/PG_VERSION").write_text("15")

    with pytest.raises(StackError, match="has no password"):
        postgresql.keep_password(LocalDirectory(str(directory)), 5490)

    assert not (directory / postgresql.URL_FILE).exists()


def test_the_database_is_made_once(postgres: PostgresServer) -> None:
    """And a wrong password is one line."""
    password = postgres.url("").split(":")[2].split("@")[0]

    for _ in range(2):
        asyncio.run(postgresql.ensure_database(postgres.port, password))

    assert postgres.ask("SELECT current_database()", postgresql.DATABASE) == postgresql.DATABASE
    with pytest.raises(StackError, match=r"^PostgreSQL: password authentication failed"):
        asyncio.run(postgresql.ensure_database(postgres.port, "wrong"))


def test_a_dead_server_is_waited_for_until_it_is_buried(tmp_path: Path) -> None:
    """PostgreSQL would take it for a living one."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # dead, and not buried
        (tmp_path / "postmaster.pid").write_text(f"{dead.pid}\n{tmp_path}\n")
        buried = threading.Timer(0.3, dead.wait)
        buried.start()

        postgresql.await_burial(tmp_path)

        assert not Path(f"/proc/{dead.pid}").exists()
        buried.join()


@pytest.mark.parametrize("content", [None, "", "nonsense\n", "4194305\n"])
def test_nobody_is_waited_for_who_is_not_dead(tmp_path: Path, content: str | None) -> None:
    """No file, none of PostgreSQL's, or a process that is long gone."""
    if content is not None:
        (tmp_path / "postmaster.pid").write_text(content)

    postgresql.await_burial(tmp_path)


def test_the_living_are_left_to_postgresql(tmp_path: Path) -> None:
    """It knows what to say about them."""
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")

    postgresql.await_burial(tmp_path)
