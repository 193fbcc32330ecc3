"""How a board becomes what Grafana loads."""

from __future__ import annotations

import pytest

from infra.grafana.dashboard import COLUMNS, Board, Kind, Panel, Query, Row, to_json


def panel(title: str, width: int = 8, kind: Kind = Kind.LINES) -> Panel:
    """Return one of no particular kind."""
    return Panel(
        title=title,
        description="What.",
        unit="s",
        queries=[Query("a"), Query("b", "{{c}}")],
        kind=kind,
        width=width,
    )


def board(*rows: Row) -> Board:
    """Return one with these rows."""
    return Board(uid="b", title="B", description="A board.", series="up", rows=rows)


def test_panels_flow_in_lines() -> None:
    """Left to right, then below; a row ends what is above it."""
    made = to_json(board(Row("One", [panel(str(n)) for n in range(4)]), Row("Two", [panel("5")])))

    places = [
        (found["type"], found["gridPos"]["x"], found["gridPos"]["y"]) for found in made["panels"]
    ]
    assert places == [
        ("row", 0, 0),
        *[("timeseries", 0, 1), ("timeseries", 8, 1), ("timeseries", 16, 1)],
        ("timeseries", 0, 9),
        ("row", 0, 17),
    ]
    assert made["panels"][-1]["panels"][0]["gridPos"] == {"h": 8, "w": 8, "x": 0, "y": 18}


def test_only_the_first_row_is_open() -> None:
    """What is folded costs Prometheus nothing."""
    made = to_json(board(Row("One", [panel("1")]), Row("Two", [panel("2")])))

    rows = [found for found in made["panels"] if found["type"] == "row"]
    assert [row["collapsed"] for row in rows] == [False, True]
    assert [len(row["panels"]) for row in rows] == [0, 1]


def test_panel_wider_than_the_board_is_refused() -> None:
    """Grafana would hide a part of it."""
    with pytest.raises(ValueError, match="wide: wider than 24 columns"):
        to_json(board(Row("One", [panel("wide", COLUMNS + 1)])))


@pytest.mark.parametrize(
    ("kind", "form", "instant"),
    [
        (Kind.LINES, "time_series", False),
        (Kind.NUMBER, "time_series", False),
        (Kind.HEAT, "heatmap", False),
        (Kind.TABLE, "table", True),
    ],
)
def test_each_kind_asks_in_its_own_way(kind: Kind, form: str, *, instant: bool) -> None:
    """A table is of now; a heat map is of buckets."""
    made = to_json(board(Row("One", [panel("1", kind=kind)])))["panels"][1]

    assert made["type"] == kind.value
    assert [target["refId"] for target in made["targets"]] == ["A", "B"]
    assert {target["format"] for target in made["targets"]} == {form}
    assert {target["instant"] for target in made["targets"]} == {instant}
    assert [target["legendFormat"] for target in made["targets"]] == ["__auto", "{{c}}"]
