"""Writes ``docs/images/board-*.png``: the first row of each board, from a running Prometheus.

Not a picture of Grafana: the panels' queries are asked of Prometheus' own API, drawn as SVG here,
and photographed in Debian's Chromium. ``make board-pictures`` during or after ``make load``.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from pathlib import Path
from typing import Any

import httpx2

from infra.grafana.boards import BOARDS
from infra.grafana.dashboard import COLUMNS, Board, Kind, Panel
from infra.stack.settings import Ports
from tests.integration.browser import chromium

TARGET = Path(__file__).with_name("images")
_STEPS = 120
_RATE_WINDOW = "30s"
_COLUMN = 46  # pixels
_ROW = 30
_MARGIN = (54, 12, 34, 26)  # left, right, top, bottom of a panel's curve
_LEGEND = 18
_MOST_SERIES = 8
_SHORT_NAME = 10  # of which four stand side by side
_LONG_NAME = 24
_COLOURS = ("#2f6fb3", "#d9762b", "#3d9a50", "#b23b3b", "#7a5ab5", "#8a6d3b", "#c2559d", "#5f6b76")
#: What the axis reaches at least.
_LEAST = {"s": 0.001, "bytes": 1.0, "Bps": 1.0, "ops": 1.0, "short": 1.0, "percentunit": 0.01}


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: its name, and a value or a gap (None) for each step."""

    name: str
    values: Sequence[float | None]


class Prometheus:
    """Answers queries over the last while.

    Args:
        url: Of its API.
        seconds: How long that while is.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._http = httpx2.AsyncClient(base_url=url, timeout=30)
        self._end = time.time()
        self._seconds = seconds
        self.step = max(1.0, seconds / _STEPS)

    async def ask(self, panel: Panel) -> list[Series]:
        """Return a panel's curves."""
        found: list[Series] = []
        for query in panel.queries:
            expression = query.expression.replace("$__rate_interval", _RATE_WINDOW)
            for name in ("$job", "$instance"):
                expression = expression.replace(name, ".*")
            answer = await self._http.get(
                "/api/v1/query_range",
                params={
                    "query": expression,
                    "start": self._end - self._seconds,
                    "end": self._end,
                    "step": self.step,
                },
            )
            answer.raise_for_status()
            found += [
                Series(_name(query.legend, result["metric"]), self._fill(result))
                for result in answer.json()["data"]["result"]
            ]
        # The largest first, so that what is left out is the least of them, or nothing at all.
        found.sort(key=lambda series: -sum(value or 0 for value in series.values))
        risen = [series for series in found if any(series.values)]
        return (risen or found)[:_MOST_SERIES]

    def _fill(self, result: dict[str, Any]) -> list[float | None]:
        values: list[float | None] = [None] * (round(self._seconds / self.step) + 1)
        for at, text in result["values"]:
            index = round((float(at) - self._end + self._seconds) / self.step)
            value = float(text)
            if 0 <= index < len(values) and isfinite(value):
                values[index] = value
        return values


def _name(legend: str, labels: dict[str, str]) -> str:
    if not legend:
        return ", ".join(value for name, value in labels.items() if name != "__name__")
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def ceiling(value: float) -> float:
    """Return the next round number: 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if value <= power * step * 1.0001)


def spell(value: float, unit: str) -> str:
    """Write a number with its unit, in few characters."""
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1e3:.3g} ms" if value * 1e3 >= 1 else f"{value * 1e6:.3g} µs"
    scale = 1024.0 if unit == "bytes" else 1000.0
    suffix = {"s": " s", "bytes": "B", "Bps": "B/s", "ops": "/s"}.get(unit, "")
    for letter in ("", "k", "M"):
        if abs(value) < scale:
            gap = "" if suffix in {"", " s"} and not letter else " "
            return f"{value:.3g}{gap}{letter}{suffix}"
        value /= scale
    return f"{value:.3g} G{suffix}"


def draw(panel: Panel, series: Sequence[Series], minutes: float) -> str:
    """Draw a panel as SVG."""
    width, height = panel.width * _COLUMN - 10, panel.height * _ROW - 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" rx="4" class="panel"/>',
        f'<text x="12" y="20" class="title">{html.escape(panel.title)}</text>',
    ]
    if panel.kind is Kind.NUMBER:
        last = next((v for s in series for v in reversed(s.values) if v is not None), None)
        text = "no data" if last is None else spell(last, panel.unit)
        parts.append(f'<text x="{width / 2}" y="{height / 2 + 22}" class="number">{text}</text>')
    else:
        parts += _curves(panel, series, minutes, (width, height))
    return "".join([*parts, "</svg>"])


def _curves(
    panel: Panel, series: Sequence[Series], minutes: float, size: tuple[int, int]
) -> list[str]:
    left, right, top, bottom = _MARGIN
    columns = 2 if any(len(one.name) > _SHORT_NAME for one in series) else 4
    lines = ceil(len(series) / columns) or 1
    across, down = size[0] - left - right, size[1] - top - bottom - lines * _LEGEND
    layers = _stack(series) if panel.stacked else [list(one.values) for one in series]
    highest = max((value for layer in layers for value in layer if value is not None), default=0.0)
    limit = ceiling(max(highest, _LEAST[panel.unit]))
    parts = []
    for share in (0, 0.5, 1):
        y = top + down * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + across}" y1="{y}" y2="{y}" class="grid"/>')
        label = spell(limit * share, panel.unit)
        parts.append(f'<text x="{left - 6}" y="{y + 4}" class="axis end">{label}</text>')
    for share in (0, 0.5, 1):
        label = "now" if share == 1 else f"-{minutes * (1 - share):.3g} min"
        anchor = ("start", "middle", "end")[round(share * 2)]
        x, y = left + across * share, top + down + 15
        parts.append(f'<text x="{x}" y="{y}" class="axis {anchor}">{label}</text>')
    steps = max(1, max((len(layer) for layer in layers), default=1) - 1)

    def place(index: int, value: float) -> str:
        return f"{left + across * index / steps:.1f},{top + down * (1 - value / limit):.1f}"

    # From the top of the stack down, so that the lower ones are seen.
    for number in reversed(range(len(layers))):
        colour = _COLOURS[number % len(_COLOURS)]
        for run in _runs(layers[number]):
            points = " ".join(place(index, value) for index, value in run)
            if panel.stacked:
                lower = layers[number - 1] if number else ()
                base = " ".join(
                    place(index, (lower[index] if lower else 0) or 0) for index, _ in reversed(run)
                )
                parts.append(f'<polygon points="{points} {base}" fill="{colour}" class="area"/>')
            parts.append(f'<polyline points="{points}" stroke="{colour}" class="curve"/>')
    if not series:
        x, y = left + across / 2, top + down / 2
        parts.append(f'<text x="{x}" y="{y}" class="axis middle">nothing happened</text>')
    for number, one in enumerate(series):
        x = 14 + (number % columns) * (size[0] - 20) / columns
        y = size[1] - lines * _LEGEND + (number // columns) * _LEGEND + 4
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/>')
        parts.append(
            f'<text x="{x + 13}" y="{y}" class="axis">{html.escape(one.name[:_LONG_NAME])}</text>'
        )
    return parts


def _stack(series: Sequence[Series]) -> list[list[float | None]]:
    layers: list[list[float | None]] = []
    below = [0.0] * max((len(one.values) for one in series), default=0)
    for one in series:
        layer: list[float | None] = []
        for index, value in enumerate(one.values):
            below[index] += value or 0
            layer.append(None if value is None else below[index])
        layers.append(layer)
    return layers


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Split at the gaps; a single point is no line."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(values):
        if value is not None:
            runs[-1].append((index, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


_STYLE = """
body { margin: 0; padding: 10px; background: #f2f4f6; font: 13px "DejaVu Sans", sans-serif; }
h1 { font-size: 17px; margin: 2px 4px 10px; color: #23303c; font-weight: 600; }
main { display: flex; flex-wrap: wrap; gap: 10px; }
.panel { fill: #fff; stroke: #d5dbe0; }
.title { font-weight: 600; fill: #23303c; }
.number { font-size: 28px; fill: #2f6fb3; text-anchor: middle; }
.grid { stroke: #e6eaee; }
.axis { font-size: 11px; fill: #5b6873; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.curve { fill: none; stroke-width: 1.5; }
.area { fill-opacity: 0.45; }
"""


async def page(board: Board, prometheus: Prometheus, minutes: float) -> str:
    """Return the first row of a board as HTML."""
    drawn = [draw(panel, await prometheus.ask(panel), minutes) for panel in board.rows[0].panels]
    return (
        f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>"
        f"<h1>{html.escape(board.title)}</h1><main>{''.join(drawn)}</main>"
    )


async def main(arguments: Sequence[str] | None = None) -> int:
    """Write all pictures; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw the boards from a running Prometheus.")
    parser.add_argument("--url", default=f"http://127.0.0.1:{Ports().prometheus}")
    parser.add_argument("--minutes", type=float, default=5, help="how far back")
    chosen = parser.parse_args(arguments)
    TARGET.mkdir(exist_ok=True)
    prometheus = Prometheus(chosen.url, chosen.minutes * 60)
    async with chromium() as browser:
        view = await browser.new_page(viewport={"width": COLUMNS * _COLUMN + 20, "height": 200})
        for board in BOARDS:
            await view.set_content(await page(board, prometheus, chosen.minutes))
            name = board.uid.replace("drawbridge-", "board-")
            await view.screenshot(path=TARGET / f"{name}.png", full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
