"""What all orders have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth_service.revocation_publisher import STREAM
from tests.auth_service.commands.ran import Run
from tests.redis_server import RedisServer


@pytest.mark.usefixtures("alice")
def test_what_was_revoked_is_in_redis_when_the_order_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No service runs; an order that revokes nothing does not ask Redis."""
    server = RedisServer(tmp_path).start()
    monkeypatch.setenv("AUTH_REDIS_URL", server.url)

    assert run("users", "list").status == 0
    try:
        assert server.ask("EXISTS", STREAM) == 0
        assert run("users", "logout", "alice").status == 0
        entries = server.ask("XRANGE", STREAM, "-", "+")
    finally:
        server.kill()

    assert [fields[b"kind"] for _, fields in entries] == [b"log", b"sub"]


@pytest.mark.usefixtures("alice")
def test_an_order_stands_without_redis(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says who tells the gateways."""
    monkeypatch.setenv("AUTH_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")

    ran = run("users", "logout", "alice")

    assert ran.status == 0
    assert "the order stands" in ran.err
    assert "hidden" not in ran.err
    assert run("users", "show", "alice", "--json").json["tokens_after"] is not None


def test_a_database_that_cannot_be_opened_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And status 2, as it is a setting that is wrong."""
    monkeypatch.setenv("AUTH_DATABASE_URL", "sqlite+aiosqlite:////proc/nowhere/auth.db")

    ran = run("users", "list")

    assert ran.status == 2
    (line,) = ran.err.splitlines()
    assert line.startswith("AUTH_DATABASE_URL: cannot open the database")
