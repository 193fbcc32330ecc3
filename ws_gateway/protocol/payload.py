"""What a payload must be where it is to reach clients of every encoding: JSON on one line."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

_decode = msgspec.json.Decoder().decode
_skim = msgspec.json.Decoder(Raw).decode
# .NET's parser takes 64 levels by default, and a push puts a few around the payload.
_MAX_DEPTH = 60
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def read_json(data: Raw, *, only_objects: bool = False) -> Raw | None:
    """Return the payload as it is handed on, or None if it is not what every parser will take.

    The command decoder skips over payloads, or, in Protobuf, does not look at them. What it
    skips too easily is a number that no double or 64-bit integer holds, or deep nesting, on
    which some clients' parsers raise.

    A line break, which would end the line of a JSON frame, can only stand between tokens here;
    it becomes a blank. Otherwise the text stays as it came.
    """
    try:
        value = _decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    if only_objects and not isinstance(value, dict):
        return None
    text = bytes(data)
    # Hardly any payload has so many brackets at all.
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        return None
    return Raw(text.replace(b"\n", b" ")) if b"\n" in text else data


def fits_line(data: Raw) -> bool:
    """Whether a payload can stand in a line of JSON, and say nothing there but itself.

    Less than :func:`read_json` asks, in a tenth of the time: it is asked again for every
    publication that is written as JSON.
    """
    try:
        _skim(data)
        return "\n" not in str(data, "utf-8")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False


def _depth(text: bytes) -> int:
    """Count the levels of a valid JSON text."""
    depth = deepest = 0
    for token in _TOKEN.findall(text):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest
