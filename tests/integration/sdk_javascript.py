"""The official JavaScript SDK, installed as locked."""

from __future__ import annotations

from pathlib import Path

from tests.integration import npm

FOLDER = Path(__file__).parents[1] / "sdk" / "javascript"
_DIST = FOLDER / "node_modules" / "centrifuge" / "dist"
BUNDLE = _DIST / "centrifuge.js"
BUNDLE_PROTOBUF = _DIST / "centrifuge.protobuf.js"


def install() -> str:
    """Install it, unless it is there; returns the path of Node.

    Raises:
        StackError: Node or npm is missing; the text says how to get it.
    """
    return npm.install(FOLDER)
