"""CPU as bars in an SVG: the median as a bar, the least and the most as a line across its end."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from tests.benchmarks.gateway.accounting import Spread

_WIDTH, _LEFT, _RIGHT, _TOP = 720, 270, 90, 40
_STEP, _BAR = 24, 14
_MICRO = 1e6
_OURS, _OTHERS = "#0072b2", "#999999"


def bars(title: str, spreads: Mapping[str, Spread], *, ours: str = "Drawbridge") -> str:
    """Draw one bar for each spread of seconds, labelled in microseconds.

    Args:
        title: What was measured.
        spreads: By name; there are some.
        ours: What the names of those in colour begin with.

    Returns:
        The file's text; equal for equal arguments.
    """
    height = _TOP + _STEP * len(spreads) + 12
    longest = max(spread.high for spread in spreads.values())
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, (name, spread) in enumerate(spreads.items()):
        top = _TOP + _STEP * number
        middle = top + _BAR / 2
        colour = _OURS if name.startswith(ours) else _OTHERS
        low, mean, high = (
            _LEFT + scale * value for value in (spread.low, spread.median, spread.high)
        )
        lines += [
            f'<text x="{_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>',
            f'<path d="M{_LEFT} {top}H{mean:.1f}v{_BAR}H{_LEFT}z" fill="{colour}"/>',
            f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}" stroke="#000"/>',
            f'<text x="{high + 6:.1f}" y="{middle + 4:.1f}">{spread.median * _MICRO:.2f} µs</text>',
        ]
    return "\n".join([*lines, "</g>", "</svg>", ""])
