"""What the descriptions of several commands have in common."""

from __future__ import annotations

import argparse
from typing import TypeAlias

MAX_ROWS = 100_000

#: Where a command is added; argparse has no public name for it.
Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def rows(text: str) -> int:
    """Read how many rows are wanted, as the type of an argument."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MAX_ROWS:
        raise argparse.ArgumentTypeError(f"must be a whole number between 1 and {MAX_ROWS}")
    return number
