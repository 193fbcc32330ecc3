"""What a docstring says, for the pages and documents that are made from the code."""

from __future__ import annotations

import re
from inspect import getdoc

__all__ = ["attributes", "summary"]

_SECTION = "Attributes:\n"


def summary(documented: object) -> str:
    """Return what stands before the ``Attributes`` section, each paragraph on one line."""
    before, _, _ = (getdoc(documented) or "").partition(_SECTION)
    paragraphs = (_joined(paragraph) for paragraph in before.split("\n\n"))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def attributes(documented: object) -> dict[str, str]:
    """Return what the ``Attributes`` section says of each, on one line."""
    _, _, section = (getdoc(documented) or "").partition(_SECTION)
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
    return {name: _joined(text) for name, text in found}


def _joined(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("``", "`").strip()
