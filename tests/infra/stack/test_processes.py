"""Processes that are recognised after whoever started them is gone."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.embedded.local_directory import LocalDirectory
from infra.stack.processes import Processes, Record

SECONDS = 10
SLEEPS = "import time; print('begun', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
# A child in the same session; its number is the last line of the log.
PARENT = (
    "import subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], stdout=subprocess.DEVNULL); "
    "print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Records in a directory of their own."""
    made = Processes(LocalDirectory(str(tmp_path)))
    yield made
    made.stop(made.names(), signal.SIGKILL, SECONDS)


def start(processes: Processes, code: str = SLEEPS, name: str = "part") -> Record:
    """Start Python, and wait for its first word."""
    record = processes.start(
        name, (sys.executable, "-c", code), environment={}, directory=Path("/"), digest="d"
    )
    until(lambda: processes.log(name).read_text() != "")
    return record


def until(condition: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_is_recognised_by_another_run(tmp_path: Path, processes: Processes) -> None:
    """It runs in a session of its own and has nobody's environment."""
    record = start(processes)
    later = Processes(LocalDirectory(str(tmp_path)))

    assert later.names() == ["part"]
    assert later.running("part") == record
    assert later.members("part") == [record.pid]
    assert os.getsid(record.pid) == record.pid
    assert Path(f"/proc/{record.pid}/environ").read_bytes() == b""


def test_the_output_is_for_the_owner_and_the_last_one_is_kept(processes: Processes) -> None:
    """A part that starts again and again does not fill the disk."""
    for word in ("one", "two", "three"):
        start(processes, f"print('{word}')")
        processes.stop(["part"], signal.SIGTERM, SECONDS)

    log = processes.log("part")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text() == "three\n"
    assert log.with_suffix(".log.1").read_text() == "two\n"
    assert len(list(log.parent.iterdir())) == 2


@pytest.mark.parametrize("change", [{"began": 1}, {"boot": "another"}])
def test_a_number_that_is_somebody_elses_is_left_alone(
    tmp_path: Path, processes: Processes, change: dict[str, object]
) -> None:
    """After its end, or a boot, the number may belong to anybody."""
    record = start(processes)
    file = tmp_path / "processes" / "other.json"
    mine = json.loads((tmp_path / "processes" / "part.json").read_text())
    file.write_text(json.dumps(mine | change))

    assert processes.running("other") is None
    assert processes.members("other") == []
    processes.send("other", signal.SIGKILL)
    assert processes.stop(["other"], signal.SIGKILL, SECONDS) == []
    assert processes.running("part") == record
    assert processes.names() == ["part"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"pid": 1}', "null"])
def test_a_broken_record_is_none(tmp_path: Path, processes: Processes, text: str) -> None:
    """And is cleared away by the next stop."""
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "part.json").write_text(text)

    assert processes.running("part") is None
    processes.stop(["part"], signal.SIGTERM, SECONDS)
    assert processes.names() == []


def test_stop_waits_for_the_whole_session(processes: Processes) -> None:
    """A child that its parent did not take along is killed after the time."""
    record = start(processes, PARENT)
    child = int(processes.log("part").read_text())
    assert processes.children("part") == [child]

    killed = processes.stop(["part"], signal.SIGTERM, 0.3)

    assert killed == ["part"]
    assert not is_alive(child)
    assert not is_alive(record.pid)


def test_what_a_killed_leader_left_behind_is_found(processes: Processes) -> None:
    """By its session, which nobody else can have as long as it lives."""
    record = start(processes, PARENT)
    child = int(processes.log("part").read_text())
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: processes.running("part") is None)

    assert processes.members("part") == [child]
    assert processes.stop(["part"], signal.SIGTERM, SECONDS) == []
    assert not is_alive(child)


def test_several_stop_together_and_the_stubborn_are_killed(processes: Processes) -> None:
    """And told apart."""
    records = [start(processes, name="mild"), start(processes, STUBBORN, "stubborn")]

    killed = processes.stop(["mild", "stubborn", "never-started"], signal.SIGTERM, 0.5)

    assert killed == ["stubborn"]
    assert not [record for record in records if is_alive(record.pid)]
    assert processes.names() == []


def test_a_program_that_is_not_there_is_an_error(processes: Processes) -> None:
    """And leaves no record."""
    with pytest.raises(FileNotFoundError):
        processes.start("part", ("/nowhere",), environment={}, directory=Path("/"), digest="")

    assert processes.names() == []


def test_let_go_leaves_them_running(processes: Processes) -> None:
    """They are meant to outlive us."""
    record = start(processes)

    processes.let_go()

    assert processes.running("part") == record


def is_alive(pid: int) -> bool:
    """Say whether a process runs, buried or not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
