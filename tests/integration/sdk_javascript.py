"""The official JavaScript SDK, installed as locked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from infra.stack import programs

FOLDER = Path(__file__).parents[1] / "sdk" / "javascript"
_DIST = FOLDER / "node_modules" / "centrifuge" / "dist"
BUNDLE = _DIST / "centrifuge.js"
BUNDLE_PROTOBUF = _DIST / "centrifuge.protobuf.js"
_LOCK = FOLDER / "package-lock.json"
# What is installed is known by the lock it was installed from.
_STAMP = FOLDER / "node_modules" / ".installed-from"
_INSTALL = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")


def install() -> str:
    """Install it, unless it is there; returns the path of Node.

    Raises:
        StackError: Node or npm is missing; the text says how to get it.
    """
    node, npm = programs.find("node"), programs.find("npm")
    if not _STAMP.exists() or _STAMP.read_bytes() != _LOCK.read_bytes():
        done = subprocess.run(  # noqa: S603 - our own lock, no scripts
            [npm, *_INSTALL], cwd=FOLDER, check=False, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copyfile(_LOCK, _STAMP)
    return node
