"""Nothing here waits for ever: what is not done in time says where it stands, and ends the run."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TextIO

EXIT_STOOD = 2
_DUMP_SECONDS = 2.0
_END_SECONDS = 3.0


class StoodStill(Exception):
    """A part of a run that was not done in time; the text names it."""


def dump_tasks(stream: TextIO) -> None:
    """Write where each task of the running loop stands."""
    for task in asyncio.all_tasks():
        stream.write(f"--- {task.get_name()} {task.get_coro()}\n")
        task.print_stack(file=stream)
    stream.flush()


def dump_on_signal() -> None:
    """Have SIGUSR1 write to stderr where this process' tasks stand."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, dump_tasks, sys.stderr)


@contextlib.asynccontextmanager
async def limited(what: str, seconds: float, file: Path) -> AsyncIterator[None]:
    """Give a part of a run so long.

    Args:
        what: Its name.
        seconds: How long.
        file: Where is written how everything stands, if that was not enough.

    Raises:
        StoodStill: It was not done.
    """

    def dump() -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{what}: not done in {seconds:.0f} s\n")
            dump_tasks(stream)

    # Before anything is cancelled: afterwards nobody stands where he stood.
    last_look = asyncio.get_running_loop().call_later(seconds, dump)
    limit = asyncio.timeout(seconds + _DUMP_SECONDS)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise StoodStill(f"{what}: not done in {seconds:.0f} s; see {file}") from None
    finally:
        last_look.cancel()


@contextlib.contextmanager
def last_resort(seconds: float, file: Path) -> Iterator[None]:
    """End this process, with all that it started, if even its event loop stands.

    Args:
        seconds: How long everything may take.
        file: Where the threads' stacks are written.
    """
    done = threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"the whole run: not done in {seconds:.0f} s\n")
            stream.flush()
            faulthandler.dump_traceback(stream, all_threads=True)
        sys.stderr.write(f"the whole run was not done in {seconds:.0f} s; see {file}\n")
        end_children()
        os._exit(EXIT_STOOD)

    thread = threading.Thread(target=watch, name="last resort", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def end_children() -> None:
    """End whatever this process started: politely, and then in any case."""
    for number in (signal.SIGTERM, signal.SIGCONT):
        _send(number)
    deadline = time.monotonic() + _END_SECONDS
    while _children() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(_END_SECONDS / 100)
    _send(signal.SIGKILL)


def _send(number: signal.Signals) -> None:
    for pid in _children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children() -> list[int]:
    found: list[int] = []
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, file.read_text("ascii").split())
    return found
