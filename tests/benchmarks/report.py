"""Tables of figures, on the terminal and in ``docs/performance.md``."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

PAGE = Path("docs/performance.md")
PICTURES = Path("docs/images")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Args:
        what: Is measured.
        figure: What came out.
        good: Whether that is within the target.
        target: In words.
    """

    what: str
    figure: str
    good: bool
    target: str


def show(
    title: str,
    sections: Sequence[tuple[str, Sequence[Row]]],
    *,
    save: bool,
    pictures: Mapping[str, str] = MappingProxyType({}),
    notes: Sequence[str] = (),
) -> None:
    """Print the tables, and put them into the page.

    Args:
        title: The heading above all of them.
        sections: A heading and a table each.
        save: Whether they take the place of the earlier ones in the page.
        pictures: The heading of a section → the SVG that follows its table.
        notes: Paragraphs above the tables.
    """
    date = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    lines = [f"## {title}", "", f"Measured on {date}: {machine}.", ""]
    for note in notes:
        lines += [note, ""]
    for name, rows in sections:
        lines += [f"### {name}", "", "| what | figure | target | |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {row.what} | {row.figure} | {row.target} | {'' if row.good else 'missed'} |"
            for row in rows
        ]
        lines.append("")
        if name in pictures:
            file = f"bench-{_file_name(name)}.svg"
            lines += [f"![{name}, drawn](images/{file})", ""]
            if save:
                (PICTURES / file).write_text(pictures[name], "utf-8")
    text = "\n".join(lines)
    sys.stdout.write(text)
    if save:
        PAGE.write_text(_replaced(PAGE.read_text("utf-8"), f"## {title}\n", text), "utf-8")


def _file_name(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _replaced(page: str, heading: str, text: str) -> str:
    """Return the page with the section of this heading replaced, or appended."""
    before, found, rest = page.partition(heading)
    if not found:
        return f"{page.rstrip()}\n\n{text}"
    _, following, later = rest.partition("\n## ")
    return before + text + (f"\n## {later}" if following else "")
