"""Differences between payloads in Fossil's delta format (protocol section 9); pure functions.

A patch is text around the inserted bytes: the target's length and a line break, then commands
(``4@2,`` copies four bytes of the source from its third on, ``2:xy`` inserts two), then a checksum
of the target. Numbers have six bits in a digit.

Payloads that follow one another in a channel are mostly alike in their beginning and their end, so
these are compared first, at the speed of ``memcmp``; only what lies between is searched for blocks
of the source.
"""

from __future__ import annotations

from collections.abc import Iterator

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
_BLOCK = 16  # bytes; a copy of fewer is hardly shorter than the bytes
# Steps of the search in one payload: at most about a millisecond; what is left is inserted.
_MAX_STEPS = 2048
_STEPS_OF_A_MATCH = 32
_MAX_NUMBER = 2**32 - 1
_CONTINUATION = 0x80  # a byte of UTF-8 that begins no character; up to three follow one that does
_MAX_CONTINUATION = 3


def create(source: bytes, target: bytes) -> bytes | None:
    """Return the patch that makes ``target`` of ``source``; None if it is not the shorter.

    What it inserts are whole characters wherever the target is UTF-8, so that the patch of a text
    is a text, as JSON needs it.
    """
    size = len(target)
    shorter = min(len(source), size)
    head = _common_prefix(source, 0, target, 0, shorter)
    tail = _common_suffix(source, len(source), target, size, shorter - head)
    parts = [f"{_number(size)}\n".encode()]
    written = len(parts[0])
    done = 0  # of the target
    for start, end, offset in _matches(source, target, head, tail):
        start, end, offset = _whole_characters(target, start, end, offset)  # noqa: PLW2901
        copy = f"{_number(end - start)}@{_number(offset)},".encode()
        if end - start <= len(copy):
            continue
        if start > done:
            parts += (f"{_number(start - done)}:".encode(), target[done:start])
            written += start - done
        parts.append(copy)
        written += len(copy)
        done = end
        if written >= size:
            return None
    if done < size:
        parts += (f"{_number(size - done)}:".encode(), target[done:])
    parts.append(f"{_number(_checksum(target))};".encode())
    patch = b"".join(parts)
    return patch if len(patch) < size else None


def _matches(source: bytes, target: bytes, head: int, tail: int) -> Iterator[tuple[int, int, int]]:
    """Yield what the two have in common: where in the target, to where, where in the source."""
    if head:
        yield 0, head, 0
    stop, source_stop = len(target) - tail, len(source) - tail
    starts = range(head, source_stop - _BLOCK + 1, _BLOCK)
    if starts and stop - head >= _BLOCK:
        blocks = {source[at : at + _BLOCK]: at for at in starts}
        done = at = head
        steps = _MAX_STEPS
        while steps > 0 and at + _BLOCK <= stop:
            offset = blocks.get(target[at : at + _BLOCK])
            if offset is None:
                at += 1
                steps -= 1
                continue
            before = _common_suffix(source, offset, target, at, min(offset - head, at - done))
            most = min(source_stop - offset, stop - at)
            length = _common_prefix(source, offset, target, at, most)
            yield at - before, at + length, offset - before
            done = at = at + length
            steps -= _STEPS_OF_A_MATCH
    if tail:
        yield stop, len(target), source_stop


def _common_prefix(first: bytes, start: int, second: bytes, other: int, most: int) -> int:
    """Count the bytes that are the same from two places on, up to ``most``."""
    same, step = 0, _BLOCK
    # In strides that double while all is the same, and are halved where it is not.
    while step:
        end = min(same + step, most)
        if first[start + same : start + end] == second[other + same : other + end]:
            if end == most:
                return most
            same, step = end, step * 2
        else:
            most, step = end - 1, (end - same) // 2
    return same


def _common_suffix(first: bytes, end: int, second: bytes, other: int, most: int) -> int:
    """Count the bytes that are the same up to two places, at most ``most``."""
    same, step = 0, _BLOCK
    while step:
        start = min(same + step, most)
        if first[end - start : end - same] == second[other - start : other - same]:
            if start == most:
                return most
            same, step = start, step * 2
        else:
            most, step = start - 1, (start - same) // 2
    return same


def _whole_characters(target: bytes, start: int, end: int, offset: int) -> tuple[int, int, int]:
    """Shorten a copy so that it begins and ends between characters of UTF-8."""
    for _ in range(_MAX_CONTINUATION):
        if start < end and target[start] & 0xC0 == _CONTINUATION:
            start += 1
            offset += 1
        if start < end < len(target) and target[end] & 0xC0 == _CONTINUATION:
            end -= 1
    return start, end, offset


def _checksum(data: bytes) -> int:
    """Add the words of four bytes up, the last filled with zeros, and keep 32 bits."""
    columns = [sum(data[first::4]) for first in range(4)]
    return (columns[0] << 24) + (columns[1] << 16) + (columns[2] << 8) + columns[3] & _MAX_NUMBER


def _number(value: int) -> str:
    digits = _DIGITS[value & 63]
    while value := value >> 6:
        digits = _DIGITS[value & 63] + digits
    return digits
