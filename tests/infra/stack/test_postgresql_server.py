"""The launcher of the stack's PostgreSQL."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.stack import postgresql, readiness, sockets
from tests.integration.embedded import free_ports

START_SECONDS = 90


def test_it_serves_where_its_user_may_not_enter(tmp_path: Path) -> None:
    """Out of a closed directory, without root, on loopback; SIGINT ends it at once and well."""
    tmp_path.chmod(0o700)
    data = tmp_path / "data"
    postgresql.initialise(data, "secret")
    (port,) = free_ports(1)
    server = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "infra.stack.postgresql_server", str(data), str(port)],
        env={**os.environ, "PGDATA": "/nowhere"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        works = readiness.postgresql_answers(port, postgresql.ROLE)
        deadline = time.monotonic() + START_SECONDS
        while not works():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        user = postgresql.account()
        wanted = os.geteuid() if user is None else pwd.getpwnam(user).pw_uid
        owner = Path(f"/proc/{server.pid}").stat().st_uid
        listening = sockets.listening([server.pid])
    finally:
        server.send_signal(signal.SIGINT)
        status = server.wait(START_SECONDS)

    assert owner == wanted != 0
    assert listening == {("127.0.0.1", port)}
    assert status == 0
    assert not (data / "postmaster.pid").exists()


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    """For the log."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "infra.stack.postgresql_server", str(tmp_path / "none"), "1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("cannot start PostgreSQL: ")
    assert done.stderr.count("\n") == 1
