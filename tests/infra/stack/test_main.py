"""``python -m infra.stack``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stack import operations, programs
from infra.stack.__main__ import main
from infra.stack.exceptions import StackError
from ws_gateway.exceptions import ConfigurationError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A directory of its own; what the command changes of its process is put back."""
    monkeypatch.setenv("DRAWBRIDGE_LOCAL", str(tmp_path / "local"))
    handler = signal.getsignal(signal.SIGTERM)
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)
    signal.signal(signal.SIGTERM, handler)


def test_orders_reach_their_functions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the environment as it is."""
    called: list[str] = []
    monkeypatch.setattr(operations, "up", lambda _: called.append("up"))
    monkeypatch.setattr(programs, "require", called.extend)

    assert [main([order]) for order in ("up", "install", "down", "status")] == [0, 0, 0, 1]
    assert called[0] == "up"
    assert {"nginx", "redis-server", "chromium"} <= set(called[1:])
    assert capsys.readouterr().out == "Nothing is up.\n" * 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StackError("missing: nginx"), 1),
        (ConfigurationError("GATEWAY_X: wrong"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_stops_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
) -> None:
    """On standard error, and a status that says whose fault it is."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(operations, "up", fail)

    assert main(["up"]) == status
    assert capsys.readouterr().err == (f"{error}\n" if str(error) else "")


def test_sigterm_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a stopped start is undone as well."""
    monkeypatch.setattr(operations, "up", lambda _: os.kill(os.getpid(), signal.SIGTERM))

    assert main(["up"]) == 130


def test_what_it_makes_is_for_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whichever program writes it."""
    monkeypatch.setattr(operations, "up", lambda _: (tmp_path / "made").touch())

    main(["up"])

    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
