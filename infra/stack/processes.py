"""Processes that outlive whoever started them, and are recognised afterwards.

A number alone is no name: once a process has ended, the kernel gives its number to another one. So
a record also holds when the process began, in which boot, and a process that does not match is not
ours and is not touched. Each one leads a session of its own; what remains in a session whose leader
died (nginx' workers after a kill -9) is found by it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.local_directory import PRIVATE, LocalDirectory

_POLL_SECONDS = 0.05
_KILL_SECONDS = 5
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a started process.

    Attributes:
        pid: Its number, which is that of its session too.
        began: When it began, in clock ticks since the boot.
        boot: Which boot.
        digest: Of all that it was started with.
    """

    pid: int
    began: int
    boot: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A process as the kernel describes it."""

    pid: int
    parent: int
    session: int
    began: int


class Processes:
    """The records of a stack.

    Args:
        directory: Of the records and the logs; made if need be.
    """

    def __init__(self, directory: LocalDirectory) -> None:
        self._records = LocalDirectory(str(directory.path("processes")))
        self._logs = directory.path("logs")
        self._children: list[subprocess.Popen[bytes]] = []
        self._boot = _BOOT.read_text("ascii").strip()

    def names(self) -> list[str]:
        """Return what has a record, running or not."""
        return sorted(path.stem for path in self._records.path("").glob("[!.]*.json"))

    def log(self, name: str) -> Path:
        """Return where a process' output is."""
        return self._logs / f"{name}.log"

    def running(self, name: str) -> Record | None:
        """Return a process' record if it runs."""
        record = self._read(name)
        if record is None:
            return None
        seen = _look(record.pid)
        return record if seen is not None and seen.began == record.began else None

    def members(self, name: str) -> list[int]:
        """Return the process and all it started, also if itself is gone."""
        record = self._read(name)
        if record is None:
            return []
        leader = _look(record.pid)
        if leader is not None and leader.began != record.began:
            return []  # The number is somebody else's, which it becomes only once all are gone.
        return [
            seen.pid for seen in _all() if seen.session == record.pid and seen.began >= record.began
        ]

    def children(self, name: str) -> list[int]:
        """Return what the process started itself and did not yet bury."""
        record = self.running(name)
        return [seen.pid for seen in _all() if record and seen.parent == record.pid]

    def start(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        environment: Mapping[str, str],
        directory: Path,
        digest: str,
    ) -> Record:
        """Start a process; its output goes to a log of its own, the last one is kept beside it.

        Raises:
            OSError: The program cannot be run.
        """
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records.make()
        log = self.log(name)
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, PRIVATE)
        try:
            # The command is ours from end to end. It outlives us, so nobody waits for it here.
            child = subprocess.Popen(  # noqa: S603
                command,
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self._children.append(child)
        seen = _look(child.pid)
        record = Record(child.pid, seen.began if seen else 0, self._boot, digest)
        content = json.dumps(dataclasses.asdict(record)).encode()
        self._records.write(f"{name}.json", content, mode=PRIVATE)
        return record

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        record = self.running(name)
        if record is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, number)

    def stop(self, names: Iterable[str], number: signal.Signals, seconds: float) -> list[str]:
        """Stop processes together and forget them.

        Args:
            names: Whose.
            number: What asks them to end.
            seconds: How long they may take; then they are killed.

        Returns:
            Those that had to be killed.
        """
        chosen = list(names)
        for name in chosen:
            if self.running(name) is not None:
                self.send(name, number)
            else:
                self._kill(name)
        self._until(lambda: not any(self._alive(name) for name in chosen), seconds)
        killed = [name for name in chosen if self._alive(name)]
        for name in killed:
            self._kill(name)
        self._until(lambda: not any(self._alive(name) for name in chosen), _KILL_SECONDS)
        for name in chosen:
            self._records.path(f"{name}.json").unlink(missing_ok=True)
        return killed

    def let_go(self) -> None:
        """Leave the started processes to themselves."""
        for child in self._children:
            # Popen would complain that nobody waited.
            if child.poll() is None:
                child.returncode = 0
        self._children.clear()

    def _alive(self, name: str) -> bool:
        for child in self._children:
            child.poll()  # buries it
        return bool(self.members(name))

    def _kill(self, name: str) -> None:
        for pid in self.members(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _read(self, name: str) -> Record | None:
        content = self._records.read(f"{name}.json")
        if content is None:
            return None
        try:
            record = Record(**json.loads(content))
        except (ValueError, TypeError):
            return None
        return record if record.boot == self._boot else None

    @staticmethod
    def _until(condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _all() -> Iterator[_Seen]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed
        if entry.isdigit():
            seen = _look(int(entry))
            if seen is not None:
                yield seen


def _look(pid: int) -> _Seen | None:
    """Read ``/proc/PID/stat``; a process that has ended and was not yet buried counts as gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name before it may hold anything, blanks and brackets too.
    state, *fields = text.rpartition(")")[2].split()
    if state in "ZXx":
        return None
    return _Seen(pid, parent=int(fields[0]), session=int(fields[2]), began=int(fields[18]))
