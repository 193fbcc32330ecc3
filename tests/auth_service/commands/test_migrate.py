"""``migrate``."""

from __future__ import annotations

import pytest

from auth_service.store import migration
from auth_service.store.tables import REVISION
from tests.auth_service.commands.ran import Run


def test_migrate_says_what_it_found(run: Run) -> None:
    """A check says 3 until the tables are there; migrating twice is fine."""
    behind = run("migrate", "--check")
    assert behind.status == 3
    assert behind.err == (
        f"AUTH_DATABASE_URL: the database has no tables, this version needs revision {REVISION}\n"
    )

    assert run("migrate").out == f"the database has revision {REVISION} now\n"
    for arguments in (["migrate"], ["migrate", "--check"]):
        ran = run(*arguments)
        assert ran.status == 0
        assert "which is what this version needs" in ran.out


def test_an_earlier_version_finds_nothing_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Job and its pods come back after a later version was here: both are content."""
    assert run("migrate").status == 0
    earlier = f"{REVISION[:2]}00"
    monkeypatch.setattr(migration, "REVISION", earlier)

    for arguments in (["migrate"], ["migrate", "--check"]):
        ran = run(*arguments)
        assert ran.status == 0
        assert f"which has all of {earlier} that this version needs" in ran.out


def test_migrate_cannot_reach_the_database(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, without the password."""
    monkeypatch.setenv("AUTH_DATABASE_URL", "postgresql+asyncpg://u:hunter2@127.0.0.1:1/x")

    ran = run("migrate")

    assert ran.status == 2
    assert ran.err.startswith("AUTH_DATABASE_URL: cannot open the database: ")
    assert ran.err.count("\n") == 1
    assert "hunter2" not in ran.err
