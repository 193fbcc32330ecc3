"""Figures over time as lines in an SVG, one panel below the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _PANEL = 640, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 34, 30
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")
_STEPS = 4


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines that share a scale, which begins at 0.

    Attributes:
        unit: Of the values.
        lines: By name, values at the same times for all.
    """

    unit: str
    lines: Mapping[str, Sequence[float]]


def timeline(title: str, seconds: Sequence[float], panels: Sequence[Panel]) -> str:
    """Draw panels over one time.

    Args:
        title: What was measured.
        seconds: When; rising, from 0 on, at least two.
        panels: What.

    Returns:
        The file's text; equal for equal arguments.
    """
    height = _TOP + len(panels) * (_PANEL + _BOTTOM)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        lines += _draw(panel, seconds, _TOP + number * (_PANEL + _BOTTOM))
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _draw(panel: Panel, seconds: Sequence[float], top: int) -> Iterator[str]:
    most = _round_up(max((max(line) for line in panel.lines.values()), default=1.0))
    width = _WIDTH - _LEFT - _RIGHT
    for step in range(_STEPS + 1):
        y = top + _PANEL * (1 - step / _STEPS)
        label = f"{most * step / _STEPS:g} {panel.unit}"
        yield f'<path d="M{_LEFT} {y:.1f}h{width}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
        x = _LEFT + width * step / _STEPS
        when = f"{seconds[-1] * step / _STEPS / 60:.1f} min"
        yield f'<text x="{x:.1f}" y="{top + _PANEL + 16}" text-anchor="middle">{when}</text>'
    for number, (name, values) in enumerate(panel.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = "L".join(
            f"{_LEFT + width * at / seconds[-1]:.1f} {top + _PANEL * (1 - value / most):.1f}"
            for at, value in zip(seconds, values, strict=True)
        )
        yield f'<path d="M{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield (
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{top + 14 + 18 * number}" '
            f'fill="{colour}">{escape(name)}</text>'
        )


def _round_up(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
