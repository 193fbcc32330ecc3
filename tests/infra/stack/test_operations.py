"""``up``, ``down`` and ``status`` without the programs; with them: tests/integration/test_stack."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from infra.embedded.local_directory import LocalDirectory
from infra.stack import components, operations, programs, readiness
from infra.stack.exceptions import StackError
from infra.stack.processes import Processes
from infra.stack.settings import read


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A directory of its own."""
    return {"DRAWBRIDGE_LOCAL": str(tmp_path / "local"), "DRAWBRIDGE_PORT_OFFSET": "20000"}


def test_down_without_a_stack_is_no_error(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And makes nothing."""
    operations.down(environment)

    assert capsys.readouterr().out == "Nothing is up.\n"
    assert not Path(environment["DRAWBRIDGE_LOCAL"]).exists()
    assert operations.status(environment) is False


def test_missing_programs_stop_the_start_before_anything_is_made(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what to type."""
    monkeypatch.setattr(programs, "_PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(StackError, match=r"^missing: nginx, redis-server, .*; as root: apt-get"):
        operations.up(environment)

    assert not Path(environment["DRAWBRIDGE_LOCAL"]).exists()


def test_only_one_is_at_work(environment: dict[str, str]) -> None:
    """Two of them would undo each other's work."""
    local = Path(environment["DRAWBRIDGE_LOCAL"])
    (local / "stack").mkdir(parents=True)
    with (local / "stack" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        for order in (operations.up, operations.down):
            with pytest.raises(StackError, match="another make up or make down is at work"):
                order(environment)


def test_down_stops_what_has_a_record(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if the settings of today are wrong, or the stubborn must be killed."""
    stack = Path(environment["DRAWBRIDGE_LOCAL"]) / "stack"
    processes = Processes(LocalDirectory(str(stack)))
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)")
    for name in ("redis", "ws-gateway-9"):
        processes.start(name, sleeper, environment={}, directory=Path("/"), digest="")
    assert operations.status(environment)
    assert "ws-gateway-9" in capsys.readouterr().out

    operations.down(environment | {"GATEWAYS": "nonsense", "GATEWAY_DRAIN_SECONDS": "x"})

    assert capsys.readouterr().out == "Everything is down.\n"
    assert processes.names() == []
    processes.let_go()


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import sys; print('AUTH_X: wrong'); print('then this'); sys.exit(2)", "AUTH_X: wrong"),
        ("print('only this')", "only this"),
        ("raise ValueError('boom')", "ValueError: boom"),
        ("", None),
    ],
)
def test_a_part_that_does_not_start_is_told_by_its_log(
    environment: dict[str, str], code: str, line: str | None
) -> None:
    """The one line that matters, and where the others are."""
    settings = read(environment)
    settings.local.make()
    settings.stack.make()
    stack = operations._Stack(settings, {})
    part = components.Component(
        name="part",
        command=(sys.executable, "-c", code),
        directory=Path("/"),
        ports=(),
        works=lambda: False,
    )

    with pytest.raises(StackError) as caught:
        stack._ensure([part])

    words = str(caught.value)
    assert words.startswith("part did not start" + (f": {line} (" if line else " ("))
    assert words.endswith("stack/logs/part.log)")
    stack.undo()
    assert stack.processes.names() == []


def test_an_answer_of_a_stranger_does_not_count(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else on the port may answer as well as our part would."""
    settings = read(environment)
    settings.stack.make()
    stack = operations._Stack(settings, {})
    always: readiness.Check = lambda: True  # noqa: E731
    part = components.Component(
        name="part",
        command=(sys.executable, "-c", "import time; time.sleep(60)"),
        directory=Path("/"),
        ports=(1,),
        works=always,
    )
    monkeypatch.setattr(operations, "START_SECONDS", 0.2)

    with pytest.raises(StackError, match=r"part did not get ready within 0.2 s"):
        stack._ensure([part])

    stack.undo()
    assert stack.processes.names() == []
