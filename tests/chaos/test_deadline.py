"""What does not get done says so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.deadline import EXIT_STOOD, StoodStill, limited

_BLOCKED = """
import subprocess, sys, time
from pathlib import Path
from tests.chaos.deadline import last_resort

child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
with last_resort(0.2, Path(sys.argv[1])):
    time.sleep(600)
"""


async def _waits_in_vain() -> None:
    await asyncio.Event().wait()


async def test_what_stands_still_is_named(tmp_path: Path) -> None:
    """With every task's place, as it was before anything was cancelled."""
    file = tmp_path / "stacks.txt"

    with pytest.raises(StoodStill, match="the first part: not done in 0 s"):
        async with limited("the first part", 0.01, file), asyncio.TaskGroup() as group:
            group.create_task(_waits_in_vain(), name="somebody")

    text = file.read_text("utf-8")
    assert "--- somebody" in text
    assert "asyncio.Event().wait()" in text


async def test_what_is_done_in_time_leaves_nothing(tmp_path: Path) -> None:
    """And a time-out of its own stays one."""
    file = tmp_path / "stacks.txt"

    async with limited("a part", 60, file):
        pass
    with pytest.raises(TimeoutError):
        async with limited("a part", 60, file):
            raise TimeoutError("its own")

    assert not file.exists()


def test_a_blocked_process_ends_with_what_it_started(tmp_path: Path) -> None:
    """Nobody is left behind, and the status says that there is no verdict."""
    file = tmp_path / "stacks.txt"

    ended = subprocess.run(  # noqa: S603 - our own words only
        [sys.executable, "-c", _BLOCKED, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == EXIT_STOOD
    assert "in <module>" in file.read_text("utf-8")
    status = Path(f"/proc/{int(ended.stdout)}")
    deadline = time.monotonic() + 30
    while status.exists() and "Z" not in _state(status):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _state(process: Path) -> str:
    try:
        return (process / "stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
