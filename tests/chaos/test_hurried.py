"""A process tells when it did not run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.history import Event, Lag, read

_PROGRAM = """
import time
from tests.chaos.hurried import tell_lateness

tell_lateness()
print("there", flush=True)
time.sleep(600)
"""
_STOPPED_SECONDS = 1.0


def test_a_process_notes_how_long_it_did_not_run(tmp_path: Path) -> None:
    """In the form of a history, under its own name."""
    file = tmp_path / "gateway-1.jsonl"
    process = subprocess.Popen(  # noqa: S603 - our own words only
        [sys.executable, "-c", _PROGRAM],
        env=os.environ | {"CHAOS_LAGS": str(file)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        events: list[Event] = []
        deadline = time.monotonic() + 60
        # Its thread may not have begun to look when it is stopped for the first time.
        while not any(isinstance(event, Lag) and event.seconds > 0.8 for event in events):
            assert time.monotonic() < deadline
            process.send_signal(signal.SIGSTOP)
            time.sleep(_STOPPED_SECONDS)
            process.send_signal(signal.SIGCONT)
            events = _some(file)
    finally:
        process.kill()
        process.communicate()

    assert all(isinstance(event, Lag) and event.process == "gateway-1" for event in events)


def _some(file: Path) -> list[Event]:
    """Read what comes within a second."""
    deadline = time.monotonic() + _STOPPED_SECONDS
    while time.monotonic() < deadline:
        if file.exists() and (events := read([file])):
            return events
        time.sleep(0.01)
    return []
