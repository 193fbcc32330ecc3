"""``make run`` from its first line to its last: what it prints, keeps, refuses and leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.embedded import Embedded, ask, close_code

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server with the settings of ``make run``."""
    server = Embedded(tmp_path_factory.mktemp("quiet")).start()
    yield server
    server.stop()


def fail_to_start(server: Embedded, **settings: str) -> str:
    """Start it in vain; returns what it said."""
    ended = subprocess.run(
        [sys.executable, "-m", "infra.embedded"],
        env=server.environment | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_the_printed_lines_work_as_printed(quiet: Embedded) -> None:
    """Pasted into a shell they get a token and an answer through the bridge."""
    text = quiet.stdout.read_text()
    lines = text[text.index("# 1.") : text.index("\nEND\n") + len("\nEND\n")]

    pasted = subprocess.run(
        ["/bin/sh"], input=lines, capture_output=True, text=True, timeout=30, check=False
    )

    assert pasted.stderr == ""
    assert pasted.stdout == "RpcResult(data='hello')\n"


def test_passwords_are_shown_to_nobody_but_a_terminal(quiet: Embedded) -> None:
    """Output that goes into a file names where they are."""
    quiet.token("bob")

    for password in quiet.passwords.values():
        assert len(password) >= 20
        assert password not in quiet.stdout.read_text() + quiet.stderr.read_text()
    assert str(quiet.local / "demo-users.txt") in quiet.stdout.read_text()


def test_what_is_kept_is_for_its_owner(quiet: Embedded) -> None:
    """Keys, users and passwords are nobody else's business."""
    private = ["server.key", "demo-users.txt", "auth.db", "keys/sealing.key"]

    assert [oct((quiet.local / name).stat().st_mode & 0o777) for name in private] == ["0o600"] * 4
    assert oct(quiet.local.stat().st_mode & 0o777) == "0o700"


def test_it_is_quiet(quiet: Embedded) -> None:
    """Log lines would push what was printed out of sight."""
    quiet.token("alice")

    assert quiet.stderr.read_text() == ""


def test_a_second_start_by_mistake_touches_nothing(quiet: Embedded) -> None:
    """One line that names the port; the first server goes on with its files."""
    before = {path: path.stat().st_mtime_ns for path in quiet.local.rglob("*.*")}

    said = fail_to_start(quiet)

    assert said.startswith(f"DRAWBRIDGE_FRONT: cannot listen on 127.0.0.1:{quiet.front}: ")
    assert {path: path.stat().st_mtime_ns for path in quiet.local.rglob("*.*")} == before
    assert quiet.token("alice")


def test_a_wrong_setting_is_one_readable_line(tmp_path: Path) -> None:
    """It names the variable; more of them are in the tests of the composition."""
    said = fail_to_start(Embedded(tmp_path), GATEWAY_HOOKS="missing:hooks")

    assert said.startswith("GATEWAY_HOOKS: ")


def test_a_busy_internal_port_is_named(quiet: Embedded, tmp_path: Path) -> None:
    """Nothing is made before all ports are there."""
    other = Embedded(tmp_path)

    said = fail_to_start(other, GATEWAY_INTERNAL_BIND=f"127.0.0.1:{quiet.internal}")

    assert said.startswith("GATEWAY_INTERNAL_BIND: cannot listen on ")
    assert not other.local.exists()


async def test_a_restart_keeps_users_and_keys(tmp_path: Path) -> None:
    """An old token is still good, an old password too, and the port is free at once.

    In between a connection sees the goodbye that makes an SDK come back: 3001.
    """
    first = Embedded(tmp_path, {"GATEWAY_DRAIN_SECONDS": "0.1"}).start()
    token, passwords, subject = first.token(), first.passwords, first.subject("alice")
    async with first.bare(token) as connection:
        await ask(connection, id=1, subscribe={"channel": "lobby"})
        first.process.send_signal(signal.SIGTERM)
        assert await close_code(connection) == 3001
    first.stop()

    second = Embedded(tmp_path, ports=first.ports).start()
    try:
        assert second.passwords == passwords
        assert second.subject("alice") == subject
        async with second.bare(token) as connection:
            assert "connect" in await ask(connection, id=1, connect={})
    finally:
        second.stop()


def test_settings_of_the_caller_are_passed_on(tmp_path: Path) -> None:
    """Every ``AUTH_*`` and ``GATEWAY_*`` of the caller counts, also an issuer of another name."""
    server = Embedded(tmp_path, {"AUTH_ISSUER": "https://issuer.example"})
    server.environment["AUTH_ACCESS_TOKEN_SECONDS"] = "60"
    server.start()
    try:
        form = {
            "grant_type": "password",
            "username": "bob",
            "password": server.passwords["bob"],
            "client_id": "chat",
        }
        answer = server.http.post("/token", data=form).json()
        assert answer["expires_in"] == 60
        metadata = server.http.get("/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == "https://issuer.example"
    finally:
        server.stop()
