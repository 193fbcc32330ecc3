"""Runs a program of ours with its times shortened, and with a clock that can be set wrong.

    python -m tests.chaos.hurried MODULE ARGUMENT…

The times are those of ``tests.integration.hurried``, each in the one program that it concerns,
because a gateway that is started again and again should not import the token service. That one's
clock object is ahead by as many seconds as the file says that ``CHAOS_CLOCK`` names.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import runpy
import sys
import threading
import time
from pathlib import Path

RELOAD_SECONDS = 0.1
REFRESH_SECONDS = 0.2
COOLDOWN_SECONDS = 0.05
_LOOK_SECONDS = 0.1
_LAG_SECONDS = 0.5


class OffsetClock:
    """Unix time, and so many seconds more as a file says; none if it does not.

    Args:
        file: Read at every call, for it may change.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self) -> float:
        """Return the time."""
        offset = 0.0
        with contextlib.suppress(OSError, ValueError):
            offset = float(self._file.read_text("ascii"))
        return time.time() + offset


def hurry_gateway() -> None:
    """Have new signing keys known soon."""
    from ws_gateway import verifier  # noqa: PLC0415 - of one program only
    from ws_gateway.jwks import JWKSCache  # noqa: PLC0415

    assert hasattr(verifier, "JWKSCache")
    verifier.JWKSCache = functools.partial(
        JWKSCache, refresh_seconds=REFRESH_SECONDS, cooldown_seconds=COOLDOWN_SECONDS
    )


def hurry_token_service() -> None:
    """Have new signing keys taken soon, and the clock of ``CHAOS_CLOCK``."""
    from auth_service import app, rotation  # noqa: PLC0415 - of one program only

    rotation.RELOAD_SECONDS = RELOAD_SECONDS  # type: ignore[assignment]
    clock = OffsetClock(Path(os.environ["CHAOS_CLOCK"]))
    app.open_service = functools.partial(app.open_service, clock=clock)


def tell_lateness() -> None:
    """Note in the history, from now on, when this process did not run: ``CHAOS_LAGS`` has a file.

    A thread of its own finds out, so that an event loop that stands still is not taken for that.
    """
    path = os.environ.get("CHAOS_LAGS")
    if path:
        name = Path(path).name.removesuffix(".jsonl")
        threading.Thread(target=_watch, args=(Path(path), name), daemon=True).start()


def _watch(file: Path, name: str) -> None:
    with file.open("a", encoding="utf-8", buffering=1) as journal:
        while True:
            before = time.monotonic()
            time.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            late = now - before - _LOOK_SECONDS
            if late > _LAG_SECONDS:
                journal.write(json.dumps(["lag", now, name, round(late, 3)]) + "\n")


def main() -> None:
    """Run what the command line names."""
    tell_lateness()
    del sys.argv[0]
    if sys.argv[0] == "ws_gateway":
        hurry_gateway()
    else:
        hurry_token_service()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
