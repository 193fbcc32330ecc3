"""Several processes under gunicorn, from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from auth_service.app import open_service
from auth_service.exceptions import ConfigurationError
from auth_service.settings import Settings
from auth_service.workers import METRICS_VARIABLE, serve
from tests.databases import BOTH_DATABASES

pytestmark = pytest.mark.integration

SECONDS = 20
PASSWORD = "correct horse battery staple"


class Running:
    """One ``serve --workers 2``.

    Args:
        directory: For its files.
        database_url: Its database.
    """

    def __init__(self, directory: Path, database_url: str) -> None:
        self.metrics = directory / "metrics"
        self.metrics.mkdir()
        (self.metrics / "counter_1.db").write_bytes(b"left behind")
        self.stderr = directory / "stderr"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AUTH_")
        } | {
            "AUTH_DATABASE_URL": database_url,
            "AUTH_DEFAULT_CLIENT": "chat",
            "AUTH_KEYS_DIR": str(directory / "keys"),
            "AUTH_BIND": "127.0.0.1:0",
            "AUTH_INTERNAL_BIND": "127.0.0.1:0",
            METRICS_VARIABLE: str(self.metrics),
        }
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "auth_service", "serve", "--workers", "2"],
                env=self.environment,
                stderr=stderr,
            )
        until(lambda: '"serving"' in self.stderr.read_text())
        (line,) = [line for line in self.said() if line["event"] == "serving"]
        self.public, self.internal = (
            int(str(line[kind][0]).rpartition(":")[2]) for kind in ("public", "internal")
        )
        until(lambda: len(self.workers) == 2 and self.status(self.internal) == 200)

    def said(self) -> list[dict[str, list[str] | str]]:
        """Read the log; every line of it is JSON."""
        return [json.loads(line) for line in self.stderr.read_text().splitlines()]

    @property
    def workers(self) -> list[str]:
        """The processes of the workers."""
        pid = self.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def get(self, port: int, path: str) -> httpx2.Response:
        """Ask over a connection of its own, so that any worker may answer."""
        return httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False)

    def status(self, port: int, path: str = "/health/ready") -> int:
        """Ask for a status; 0 if there is no answer."""
        try:
            return self.get(port, path).status_code
        except httpx2.TransportError:
            return 0


def until(condition: Callable[[], object]) -> None:
    """Wait, but not for ever."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def running(tmp_path: Path, database_url: str) -> Iterator[Running]:
    """A service with two workers."""
    made = Running(tmp_path, database_url)
    yield made
    made.process.kill()
    made.process.wait()


def test_workers_share_ports_metrics_and_a_life(running: Running) -> None:
    """Each listener has its own application; whoever dies is replaced and still counted."""
    assert running.status(running.public) == 404
    assert running.status(running.public, "/metrics") == 404
    assert running.status(running.internal, "/.well-known/jwks.json") == 404
    keys = {running.get(running.public, "/.well-known/jwks.json").text for _ in range(10)}
    assert len(keys) == 1
    assert not (running.metrics / "counter_1.db").exists()
    series = 'auth_http_requests_total{code="200",method="GET",route="/.well-known/jwks.json"} '
    assert f"{series}10.0" in running.get(running.internal, "/metrics").text

    first = running.workers
    for pid in first:
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: len(running.workers) == 2 and not set(first) & set(running.workers))
    until(lambda: running.status(running.internal) == 200)
    assert f"{series}10.0" in running.get(running.internal, "/metrics").text

    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(SECONDS) == 0
    assert running.said()
    assert "Traceback" not in running.stderr.read_text()


def test_a_killed_master_takes_its_workers_along(running: Running) -> None:
    """They would keep the ports from whoever comes next."""
    assert len(running.workers) == 2

    running.process.kill()
    running.process.wait()

    until(lambda: running.status(running.internal) == 0)
    for port in (running.public, running.internal):
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("directory", ["", "/nowhere/at/all"])
def test_without_a_directory_for_metrics_there_is_no_start(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker would tell its own numbers."""
    monkeypatch.setenv(METRICS_VARIABLE, directory)

    with pytest.raises(ConfigurationError, match=f"^{METRICS_VARIABLE}: several workers need"):
        serve(Settings(), public=[], internal=[], workers=2)


def test_a_worker_that_cannot_open_the_database_ends_the_start(tmp_path: Path) -> None:
    """One line says why, and nothing is tried for ever."""
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "auth_service", "serve", "--workers", "2"],
        env={
            "PATH": os.environ["PATH"],
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/file/auth.db",
            "AUTH_KEYS_DIR": str(tmp_path / "keys"),
            "AUTH_BIND": "127.0.0.1:0",
            "AUTH_INTERNAL_BIND": "127.0.0.1:0",
            METRICS_VARIABLE: str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )

    assert done.returncode != 0
    assert "AUTH_DATABASE_URL: cannot open the database" in done.stderr
    assert "Traceback" not in done.stderr


@BOTH_DATABASES
def test_twenty_refreshes_over_two_workers_leave_one_descendant(running: Running) -> None:
    """The database decides, not the process (O11)."""

    async def add_alice() -> None:
        async with open_service(Settings.from_environment(running.environment)) as service:
            await service.accounts.add("alice", PASSWORD)

    def ask(**form: str) -> httpx2.Response:
        # A connection each, so that both workers get their share.
        url = f"http://127.0.0.1:{running.public}/token"
        return httpx2.post(url, data=form, trust_env=False, timeout=SECONDS)

    def refresh(token: str) -> httpx2.Response:
        return ask(grant_type="refresh_token", refresh_token=token)

    asyncio.run(add_alice())
    first = ask(grant_type="password", username="alice", password=PASSWORD).json()["refresh_token"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(refresh, [first] * 20))

    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert refresh(successor).status_code == 200
    # Of an older generation than the one that is repeated for those who lost an answer.
    assert refresh(first).json()["error"] == "invalid_grant"
