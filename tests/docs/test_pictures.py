"""The pictures of the pages; ``make pictures`` takes them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
MAX_BYTES = 200_000


def test_each_picture_is_shown_and_small() -> None:
    """What ``docs/pictures.py`` writes is what the page shows, and nobody waits for it."""
    shown = set(re.findall(r"images/(\w+)\.png", (DOCS / "page.md").read_text("utf-8")))
    taken = {path.stem: path.read_bytes() for path in (DOCS / "images").iterdir()}
    names = set(re.findall(r'take\(\w+, "(\w+)"\)', (DOCS / "pictures.py").read_text("utf-8")))

    assert shown == taken.keys() == names
    for picture in taken.values():
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < MAX_BYTES
