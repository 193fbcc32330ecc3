"""Ends a program when the tests that started it are gone, however they went.

A fixture tidies up after itself, unless its process is killed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

# Its input is a pipe of which only we have the other end: it ends with us at the latest. A line in
# it says that there is nothing to do.
_SCRIPT = """
read -r _ && exit
kill -QUIT "$1"
# One that was stopped hears it only when it goes on.
kill -CONT "$1"
# Gone, or dead and waiting for somebody who asks how it ended. What a shell has put into the
# background ignores SIGQUIT, and its children do unless they see to it.
tries=0
while grep -qs "^State:.[^Z]" "/proc/$1/status"; do
    test "$tries" -lt 50 || kill -KILL "$1"
    tries=$((tries + 1))
    sleep 0.1
done
rm -rf "$2"
"""


class Watchdog:
    """Outlives this process to end another one and to delete what it has stored.

    It sends SIGQUIT, and SIGKILL to what is still there five seconds later.

    Args:
        pid: Of the program; nobody waits for it once we are gone.
        directory: Of its files.
    """

    def __init__(self, pid: int, directory: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own words only
            ["/bin/sh", "-c", _SCRIPT, "watchdog", str(pid), str(directory)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Whatever is sent to all of a terminal's or a test run's processes spares it.
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Watch no more."""
        self._process.communicate(b"\n")
