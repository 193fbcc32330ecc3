"""``serve``, as a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.auth_service.commands.ran import PASSWORD, Run

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any free port."""
    monkeypatch.setenv("AUTH_BIND", "127.0.0.1:0")
    monkeypatch.setenv("AUTH_INTERNAL_BIND", "127.0.0.1:0")


@contextmanager
def _serving() -> Iterator[tuple[str, str]]:
    """Run the real command until the block ends, then stop it with SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "auth_service", "serve"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log = ""
    try:
        for line in process.stderr:
            log += line
            if '"serving"' in line:
                fields = json.loads(line)
                break
        else:
            pytest.fail(f"it did not start: {log}")
        yield f"http://{fields['public'][0]}", f"http://{fields['internal'][0]}"
    finally:
        process.terminate()
        log += process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert "Traceback" not in log


@pytest.mark.integration
@pytest.mark.usefixtures("alice")
def test_a_served_process_stops_cleanly_and_remembers() -> None:
    """Start, token, SIGTERM; the second start has the same users and keys."""
    form = {"grant_type": "password", "username": "alice", "password": PASSWORD}
    with _serving() as (public, internal):
        token = httpx2.post(f"{public}/token", data=form).json()["access_token"]
        keys = httpx2.get(f"{public}/.well-known/jwks.json").json()
        assert httpx2.get(f"{internal}/health/ready").status_code == 200

    with _serving() as (public, _):
        headers = {"Authorization": f"Bearer {token}"}
        me = httpx2.get(f"{public}/users/me", headers=headers)
        assert httpx2.get(f"{public}/.well-known/jwks.json").json() == keys
        assert "server" not in me.headers

    assert me.json()["username"] == "alice"


@pytest.mark.parametrize("variable", ["AUTH_BIND", "AUTH_INTERNAL_BIND"])
def test_a_busy_port_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    tmp_path: Path,
    variable: str,
) -> None:
    """Found before anything is made on disk."""
    monkeypatch.setattr("auth_service.logs.configure", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        monkeypatch.setenv(variable, address)

        ran = run("serve")

    assert ran.status == 2
    assert ran.err == f"{variable}: {address}: Address already in use\n"
    assert not (tmp_path / "auth.db").exists()
