"""Orders in this process, on a database of the test's own."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from auth_service.cli import main
from tests.auth_service.commands.ran import PASSWORD, Ran, Run


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data folder of its own."""
    for variable in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AUTH_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/auth.db")
    monkeypatch.setenv("AUTH_KEYS_DIR", f"{tmp_path}/keys")
    monkeypatch.setenv("AUTH_DEFAULT_CLIENT", "chat")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry out an order; the keyword `typed` is its input."""

    def carry_out(*arguments: str, typed: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        status = main(arguments)
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return carry_out


@pytest.fixture
def alice(run: Run) -> str:
    """A user; returns the id."""
    return run("users", "add", "alice", "--password-stdin", typed=f"{PASSWORD}\n").out.strip()
