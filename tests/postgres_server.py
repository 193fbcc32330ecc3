"""A PostgreSQL of the tests' own: Debian's binaries on a free port, in a directory that goes.

Each test gets a database of its own, copied from one that has the tables already. The server runs
without fsync unless a test is about that, so that a copy costs some 30 ms.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from infra.stack import postgresql, programs
from tests.integration.embedded import free_ports
from tests.watchdog import Watchdog

START_SECONDS = 90
#: For tests that end before the machine can lose its power.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_TEMPLATE = "tables"


class PostgresServer:
    """One cluster; it may be killed and started again on the same port.

    Args:
        options: Settings of PostgreSQL; `FAST` unless given.
    """

    def __init__(self, options: Mapping[str, str] = FAST) -> None:
        (self.port,) = free_ports(1)
        self._password = secrets.token_urlsafe(16)
        self._options = options
        # Not pytest's directory: PostgreSQL's user may not enter that one.
        self._directory = Path(tempfile.mkdtemp(prefix="drawbridge-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._template = False

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        self._directory.chmod(0o755)
        data = self._directory / "data"
        postgresql.initialise(data, self._password)
        user = postgresql.account()
        self._process = subprocess.Popen(  # noqa: S603 - our own words only
            postgresql.command(data, self.port, self._options),
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._watchdog = Watchdog(self._process.pid, self._directory)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it as a loss of power does: every process of it at once."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._dismiss_watchdog()

    def freeze(self) -> None:
        """Let nothing of it run, so that connections stay open and unanswered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        # Each of its processes has a session, and so a group, of its own.
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
        for pid in (parent, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def remove(self) -> None:
        """Stop it for good, and delete what it has stored."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        self._dismiss_watchdog()
        shutil.rmtree(self._directory)

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    def url(self, database: str) -> str:
        """Return a database's address as the service takes it."""
        host = f"127.0.0.1:{self.port}"
        return f"postgresql+asyncpg://{postgresql.ROLE}:{self._password}@{host}/{database}"

    def create(self, *, tables: bool = True) -> str:
        """Make a database; returns its name.

        Args:
            tables: Whether it has the service's tables; empty otherwise.
        """
        name = f"test_{secrets.token_hex(8)}"
        if tables and not self._template:
            self.ask(f"CREATE DATABASE {_TEMPLATE}")
            _migrate(self.url(_TEMPLATE))
            self._template = True
        self.ask(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if tables else 'template0'}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.ask(f"DROP DATABASE {database} WITH (FORCE)")

    def ask(self, statement: str, database: str = "postgres") -> str:
        """Execute a statement; returns the rows, fields separated by ``|``."""
        done = self._psql(statement, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _answers(self) -> bool:
        return self._psql("SELECT 1", "postgres").returncode == 0

    def _psql(self, statement: str, database: str) -> subprocess.CompletedProcess[str]:
        host = str(self._directory / "data")
        return subprocess.run(  # noqa: S603 - our own words only
            [
                *(programs.find("psql"), "--no-psqlrc", "--quiet", "-At"),
                *("-h", host, "-p", str(self.port), "-U", postgresql.ROLE),
                *("-d", database, "-c", statement),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )


def _migrate(url: str) -> None:
    """Make the tables, in a process of its own because a test's loop may be running in this one."""
    subprocess.run(
        [sys.executable, "-m", "auth_service", "migrate"],
        env={**os.environ, "AUTH_DATABASE_URL": url},
        cwd=Path(__file__).parents[1],
        check=True,
        stdout=subprocess.DEVNULL,
    )
