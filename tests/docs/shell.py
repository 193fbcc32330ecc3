"""One bash that is told a block of a page after the other."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


class Shell:
    """Runs from the first order to the last, so that variables and functions stay.

    Args:
        folder: Where it begins.
        variables: Its environment.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],  # noqa: S607 - whichever bash reads the page
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=variables,
            text=True,
        )

    def tell(self, text: str) -> list[str]:
        """Run a block; returns the lines it printed. One that fails fails the test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\necho; echo the-end\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line == "the-end\n":
                return [one for one in lines if one]
            lines.append(line.rstrip("\n"))
        pytest.fail(f"{text}\n{lines}")

    def end(self) -> None:
        """Close its input and wait."""
        self._process.communicate(timeout=10)
