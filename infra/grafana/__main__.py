"""``python -m infra.grafana``: write ``dashboards/*.json`` from the boards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from infra.grafana.boards import BOARDS
from infra.grafana.dashboard import to_json

FOLDER = Path(__file__).with_name("dashboards")


def files() -> dict[Path, str]:
    """Return what is written where."""
    return {
        FOLDER / f"{board.uid}.json": json.dumps(to_json(board), indent=2) + "\n"
        for board in BOARDS
    }


def main() -> int:
    """Write them; returns the exit status."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
