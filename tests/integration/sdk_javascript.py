"""The official JavaScript SDK, installed as locked."""

from __future__ import annotations

from pathlib import Path

from tests.integration import npm

FOLDER = Path(__file__).parents[1] / "sdk" / "javascript"
BUNDLE = FOLDER / "node_modules" / "centrifuge" / "dist" / "centrifuge.js"


def install() -> str:
    """Install it, unless it is there; returns the path of Node.

    Raises:
        StackError: Node or npm is missing; the text says how to get it.
    """
    return npm.install(FOLDER)
