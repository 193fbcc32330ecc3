"""Waiting times as curves in an SVG: how large a share of the answers had come after how long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 34, 44
# Told apart by those too who see no colours well: blue, orange, green, pink, black.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")
_DECADES = (-4, -3, -2, -1, 0, 1)
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


def waiting_times(title: str, curves: Mapping[str, Sequence[float]], *, target: float) -> str:
    """Draw one curve for each list of seconds.

    Args:
        title: What was measured.
        curves: By name; none is empty.
        target: Seconds that are allowed, drawn as a broken line.

    Returns:
        The file's text; equal for equal arguments.
    """
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        '<g font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
        *_grid(),
        f'<path d="M{_x(target):.1f} {_y(0)}V{_y(1)}" stroke="#666" stroke-dasharray="5 4"/>',
        f'<text x="{_x(target):.1f}" y="{_TOP - 4}" fill="#666">≤ {_words(target)}</text>',
    ]
    for number, (name, seconds) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        height = _TOP + 16 + 18 * number
        lines.append(
            f'<path d="{_curve(seconds)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        lines.append(
            f'<text x="{_WIDTH - _RIGHT + 12}" y="{height}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _grid() -> Iterator[str]:
    for decade in _DECADES:
        x = _x(10.0**decade)
        yield f'<path d="M{x:.1f} {_y(0)}V{_y(1)}" stroke="#ddd"/>'
        yield (
            f'<text x="{x:.1f}" y="{_y(0) + 18}" text-anchor="middle">{_words(10.0**decade)}</text>'
        )
    for share in _SHARES:
        y = _y(share)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'


def _curve(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    points = [
        f"{_x(wait):.1f} {_y(number / len(ordered)):.1f}" for number, wait in enumerate(ordered, 1)
    ]
    # What falls on the same spot is drawn once.
    return "M" + "L".join(dict.fromkeys(points))


def _x(seconds: float) -> float:
    """Place a time: ten times as long is as far to the right again."""
    first, last = _DECADES[0], _DECADES[-1]
    decade = min(max(math.log10(max(seconds, 1e-9)), first), last)
    return _LEFT + (decade - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _words(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"
