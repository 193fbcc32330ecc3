"""The tests leave nothing running, even if they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.watchdog import Watchdog

PATIENCE_SECONDS = 60

TESTS = """
import signal, subprocess, sys, time
from pathlib import Path
from tests.watchdog import Watchdog

signal.signal(signal.SIGQUIT, signal.SIG_IGN if sys.argv[2] == "deaf" else signal.SIG_DFL)
program = subprocess.Popen(["sleep", "1000"], start_new_session=True)
Watchdog(program.pid, Path(sys.argv[1]))
print(program.pid, flush=True)
time.sleep(1000)
"""


def alive(pid: int) -> bool:
    """Say whether a process runs, or would if it were let."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status


@pytest.mark.parametrize(("stopped", "deaf"), [(False, False), (True, False), (False, True)])
def test_a_killed_run_takes_its_program_along(tmp_path: Path, *, stopped: bool, deaf: bool) -> None:
    """And what that has stored; also one that a test had stopped, or that ignores SIGQUIT."""
    directory = tmp_path / "data"
    directory.mkdir()
    with subprocess.Popen(  # noqa: S603 - our own words only
        [sys.executable, "-c", TESTS, str(directory), "deaf" if deaf else ""],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as tests:
        assert tests.stdout is not None
        program = int(tests.stdout.readline())
        assert alive(program)
        if stopped:
            os.kill(program, signal.SIGSTOP)

        os.killpg(tests.pid, signal.SIGKILL)

    deadline = time.monotonic() + PATIENCE_SECONDS
    while directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not alive(program)


def test_a_dismissed_watchdog_does_nothing(tmp_path: Path) -> None:
    """The program has ended, and its number may be that of another one."""
    with subprocess.Popen(["sleep", "1000"]) as program:  # noqa: S607
        watchdog = Watchdog(program.pid, tmp_path)

        watchdog.dismiss()

        assert program.poll() is None
        program.kill()
    assert tmp_path.exists()
