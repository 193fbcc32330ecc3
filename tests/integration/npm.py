"""Packages from npm, installed as their folder's lock has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.stack import programs
from infra.stack.exceptions import StackError

_INSTALL = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
_SECONDS = 100


def install(folder: Path) -> str:
    """Install what a folder names, unless it is there; returns the path of Node.

    Raises:
        StackError: Node or npm is missing; the text says how to get it.
    """
    node, npm = programs.find("node"), programs.find("npm")
    lock = folder / "package-lock.json"
    # What is installed is known by the lock it was installed from.
    stamp = folder / "node_modules" / ".installed-from"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        done = subprocess.run(  # noqa: S603 - our own lock, no scripts
            [npm, *_INSTALL],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copyfile(lock, stamp)
    return node


def node(folder: Path) -> str:
    """Install what a folder names and return the path of Node; without it the test fails."""
    try:
        return install(folder)
    except StackError as error:
        pytest.fail(str(error))
