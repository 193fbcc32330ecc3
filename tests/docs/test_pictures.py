"""The pictures of the pages, which ``make pictures``, ``board-pictures`` and ``bench`` make."""

from __future__ import annotations

import re
from pathlib import Path

from infra.grafana.boards import BOARDS

DOCS = Path(__file__).parents[2] / "docs"
MAX_BYTES = 200_000


def test_each_picture_is_shown_and_small() -> None:
    """What ``docs/pictures.py`` writes is what the page shows, and nobody waits for it."""
    shown = set(re.findall(r"images/(\w+)\.png", (DOCS / "page.md").read_text("utf-8")))
    taken = {
        path.stem: path.read_bytes()
        for path in (DOCS / "images").glob("*.png")
        if not path.stem.startswith("board-")
    }
    names = set(re.findall(r'take\(\w+, "(\w+)"\)', (DOCS / "pictures.py").read_text("utf-8")))

    assert shown == taken.keys() == names
    for picture in taken.values():
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < MAX_BYTES


def test_each_plot_is_shown() -> None:
    """``make bench`` writes page and plots in one go."""
    page = (DOCS / "performance.md").read_text("utf-8")
    plots = {path.name: path.read_text("utf-8") for path in (DOCS / "images").glob("*.svg")}

    assert set(re.findall(r"images/([\w-]+\.svg)", page)) == plots.keys()
    assert all(plot.startswith("<svg") and len(plot) < MAX_BYTES for plot in plots.values())


def test_each_board_is_shown() -> None:
    """As Prometheus had it, not as Grafana would draw it; the page says so."""
    page = (DOCS / "operations.md").read_text("utf-8")
    names = {board.uid.replace("drawbridge-", "board-") for board in BOARDS}

    assert set(re.findall(r"images/(board-\w+)\.png", page)) == names
    assert "were not opened in a\nGrafana" in page
    for name in names:
        picture = (DOCS / "images" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < MAX_BYTES
