"""What an order answers: aligned text for people, one JSON document for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime


def json_option() -> argparse.ArgumentParser:
    """Return the option of every order that answers something, as a parent of its parser."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--json", action="store_true", help="answer one JSON document")
    return parent


def show(options: argparse.Namespace, fields: Mapping[str, object]) -> None:
    """Write one thing: a line for each field."""
    if options.json:
        _document(dict(fields))
        return
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        sys.stdout.write(f"{name:{width}}  {_text(value)}".rstrip() + "\n")


def show_list(
    options: argparse.Namespace, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write many things of a kind: a line for each, below the names of the columns.

    Args:
        options: With ``json``.
        columns: What people are shown, in order; programs get every field.
        rows: The things.
    """
    if options.json:
        _document([dict(row) for row in rows])
        return
    lines = [list(columns), *([_text(row[name]) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def write_lines(*lines: str) -> None:
    """Write plain lines, which scripts have always taken as they are."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def notice(line: str) -> None:
    """Tell something that is no part of the answer."""
    sys.stderr.write(line + "\n")


def moment(seconds: float | None) -> str | None:
    """Write a time as people and programs both read it (RFC 3339, UTC)."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = " ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    # Some of it was sent by strangers, such as a browser's name, and a terminal obeys.
    plain = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)
    return plain or "-"
