"""What a board is, and how Grafana writes it: the classic JSON model, which every version loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 42
COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_ROW_HEIGHT = 1


class Kind(StrEnum):
    """How a panel shows its numbers; Grafana's word for it."""

    LINES = "timeseries"
    NUMBER = "stat"
    HEAT = "heatmap"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus.

    Attributes:
        expression: PromQL, with Grafana's variables ``$job``, ``$instance``, ``$__rate_interval``.
        legend: What a series is called, with its labels in ``{{}}``.
    """

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture.

    Attributes:
        title: Above it.
        description: What one sees, and when to worry.
        unit: Grafana's id of it: ``short``, ``s``, ``bytes``, ``percentunit``, ``ops``.
        queries: What is asked.
        kind: How it is shown.
        stacked: The series are parts of a whole.
        width: Of 24 columns.
        height: In Grafana's units.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = Kind.LINES
    stacked: bool = False
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard.

    Attributes:
        uid: Its name in addresses, for ever.
        title: What people call it.
        description: What it is for.
        series: A metric whose ``job`` and ``instance`` labels can be chosen.
        rows: The first is open, the others are folded.
    """

    uid: str
    title: str
    description: str
    series: str
    rows: Sequence[Row]

    def panels(self) -> Iterator[Panel]:
        """Yield all of them."""
        for row in self.rows:
            yield from row.panels


def to_json(board: Board) -> dict[str, Any]:
    """Return what Grafana loads.

    Raises:
        ValueError: A panel is wider than the board.
    """
    panels: list[dict[str, Any]] = []
    top = number = 0
    for index, row in enumerate(board.rows):
        number += 1
        folded = index > 0
        head: dict[str, Any] = {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": folded,
            "gridPos": {"h": _ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": top},
            "panels": [],
        }
        top += _ROW_HEIGHT
        inside: list[dict[str, Any]] = []
        left = line = 0
        for panel in row.panels:
            if panel.width > COLUMNS:
                raise ValueError(f"{panel.title}: wider than {COLUMNS} columns")
            if left + panel.width > COLUMNS:
                top, left, line = top + line, 0, 0
            number += 1
            inside.append(_panel(panel, number, left, top))
            left, line = left + panel.width, max(line, panel.height)
        top += line
        panels.append(head | {"panels": inside} if folded else head)
        if not folded:
            panels += inside
    return {
        "id": None,
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["drawbridge"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "links": [
            {
                "type": "dashboards",
                "title": "Drawbridge",
                "tags": ["drawbridge"],
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                },
                _variable("job", f"label_values({board.series}, job)"),
                _variable("instance", f'label_values({board.series}{{job=~"$job"}}, instance)'),
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    instant = panel.kind is Kind.TABLE
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _SOURCE,
            "editorMode": "code",
            "expr": query.expression,
            "legendFormat": query.legend or "__auto",
            "range": not instant,
            "instant": instant,
            "format": _FORMATS.get(panel.kind, "time_series"),
        }
        for index, query in enumerate(panel.queries)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind is Kind.LINES:
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    found: dict[str, Any] = {
        "id": number,
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _OPTIONS[panel.kind] | _unit_of_axis(panel),
        "targets": targets,
    }
    if panel.kind is Kind.TABLE:
        found["transformations"] = [{"id": "merge", "options": {}}]
    return found


def _unit_of_axis(panel: Panel) -> dict[str, Any]:
    return {"yAxis": {"unit": panel.unit}} if panel.kind is Kind.HEAT else {}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes: instances come and go
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts that page",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", severity="page"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}}",
        "step": "60s",
    }


_FORMATS = {Kind.TABLE: "table", Kind.HEAT: "heatmap"}
_OPTIONS: dict[Kind, dict[str, Any]] = {
    Kind.LINES: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.NUMBER: {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
    },
    Kind.HEAT: {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "tooltip": {"mode": "single", "yHistogram": False},
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm"},
}
