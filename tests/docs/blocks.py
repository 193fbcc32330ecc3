"""The code blocks of a page, and what the page says of each to whoever runs them.

A comment on the line before a block says what else there is to know of it::

    <!-- not run: why it cannot run here -->
    <!-- file: club.py -->      it is the content of this file
    <!-- prints -->             it is what the block before it prints
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
PICTURE = "text"
"""The language of what is no code."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<word>not run|file|prints)(?:: (?P<note>.*?))? -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page.

    Attributes:
        page: Where it stands, from the top of the repository.
        line: Of its first line there.
        language: What it is written in; empty for a conversation.
        text: Its lines.
        word: What the comment before it says of it, if there is one.
        note: What it says besides.
    """

    page: str
    line: int
    language: str
    text: str
    word: str = ""
    note: str = ""

    @override
    def __str__(self) -> str:
        """Say where to look."""
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    """Return a page's path from the top of the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    text = page.read_text("utf-8")
    return [
        Block(
            page=name_of(page),
            line=text.count("\n", 0, found.start("text")) + 1,
            language=found["language"],
            text=found["text"],
            word=found["word"] or "",
            note=found["note"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]
