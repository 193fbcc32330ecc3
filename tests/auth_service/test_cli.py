"""The command line, in this process where nothing is served."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from auth_service.cli import main

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data folder of its own, and listeners on any free port."""
    for variable in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AUTH_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/auth.db")
    monkeypatch.setenv("AUTH_KEYS_DIR", f"{tmp_path}/keys")
    monkeypatch.setenv("AUTH_BIND", "127.0.0.1:0")
    monkeypatch.setenv("AUTH_INTERNAL_BIND", "127.0.0.1:0")
    monkeypatch.setenv("AUTH_DEFAULT_CLIENT", "chat")


def _stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_user_is_added_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The id is printed; a second one of that name is refused in one line."""
    _stdin(monkeypatch, f"{PASSWORD}\n")
    assert main(["users", "add", "alice", "--password-stdin"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.split()) == 1
    assert PASSWORD not in printed.out + printed.err

    _stdin(monkeypatch, f"{PASSWORD}\n")
    assert main(["users", "add", "Alice", "--password-stdin"]) == 1
    assert capsys.readouterr().err == "a user of this name exists already\n"


def test_a_generated_password_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 20 random characters."""
    assert main(["users", "add", "alice", "--generate", "--demo"]) == 0

    _, password = capsys.readouterr().out.splitlines()
    assert len(password) >= 20


def test_a_terminal_is_asked_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two different answers are no password."""
    _stdin(monkeypatch, "")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    answers = iter([PASSWORD, PASSWORD, PASSWORD, "another password"])
    monkeypatch.setattr("auth_service.cli.getpass.getpass", lambda _: next(answers))

    assert main(["users", "add", "alice"]) == 0
    assert main(["users", "add", "bob"]) == 1
    assert capsys.readouterr().err == "the two passwords differ\n"


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (["users", "add", "alice"], "", "no terminal"),
        (["users", "add", "alice", "--password-stdin"], "short\n", "at least 15"),
        (["users", "add", "alice", "--password-stdin"], "", "at least 15"),
        (["users", "add", "a\nb", "--generate"], "", "control"),
        (["clients", "add", "bot", "--grant", "magic"], "", "grant types are"),
    ],
)
def test_an_order_that_cannot_be_followed_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    typed: str,
    words: str,
) -> None:
    """And exit status 1."""
    _stdin(monkeypatch, typed)

    assert main(arguments) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_confidential_client_gets_its_secret_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The public one prints nothing."""
    assert main(["clients", "add", "bot", "--secret", "--grant", "password"]) == 0
    assert capsys.readouterr().out.startswith("cs_")
    assert main(["clients", "add", "app", "--grant", "password"]) == 0
    assert capsys.readouterr().out == ""


def test_a_wrong_setting_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback."""
    monkeypatch.setenv("AUTH_ACCESS_TOKEN_SECONDS", "abc")

    assert main(["serve"]) == 2

    assert capsys.readouterr().err == (
        "AUTH_ACCESS_TOKEN_SECONDS: must be a whole number between 60 and 3600, not 'abc'\n"
    )


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
def test_a_served_process_stops_cleanly_and_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, token, SIGTERM; the second start has the same users and keys."""
    _stdin(monkeypatch, f"{PASSWORD}\n")
    assert main(["users", "add", "alice", "--password-stdin"]) == 0
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
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    variable: str,
) -> None:
    """Found before anything is made on disk."""
    monkeypatch.setattr("auth_service.logs.configure", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        monkeypatch.setenv(variable, address)

        assert main(["serve"]) == 2

    assert capsys.readouterr().err == f"{variable}: {address}: Address already in use\n"
    assert not (tmp_path / "auth.db").exists()
