"""An example as a program of its own, and what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SECONDS = 20


class Program:
    """One running example.

    Args:
        name: Its file.
        arguments: Of its command line.
        directory: Where it runs; ``.local`` is there.
        variables: Of its environment.
    """

    def __init__(
        self, name: str, *arguments: str, directory: Path, variables: dict[str, str]
    ) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, str(EXAMPLES / name), *arguments],
            cwd=directory,
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, *lines: str) -> None:
        """Type lines into it."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def line(self) -> str:
        """Wait for the next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[int, str, str]:
        """End its input, and return its status, and what else it printed, to both streams."""
        said, complained = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said, complained
