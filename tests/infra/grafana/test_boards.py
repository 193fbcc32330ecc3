"""What every board keeps to; tests/integration/test_stack asks a real Prometheus their queries."""

from __future__ import annotations

import re
from typing import Any

import pytest

from infra.grafana.boards import BOARDS
from infra.grafana.dashboard import COLUMNS, Board, Kind, to_json
from tests.infra.grafana.exported import exported, unseen

#: Those of Grafana that are used.
UNITS = {"short", "s", "bytes", "Bps", "ops", "percentunit"}
#: Counters that their exporters give another ending.
COUNTERS = (
    r"\w+_total|pg_stat_database_(?:xact|tup|blks)_\w+|nginx_connections_(?:accepted|handled)"
)
MAX_BYTES = 2**20  # of a ConfigMap
#: What no panel shows, each with its reason.
NOT_SHOWN: dict[str, str] = {}

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def drawn(board: Board) -> list[dict[str, Any]]:
    """Return the panels of a board as Grafana gets them, rows among them."""
    panels: list[dict[str, Any]] = []
    for panel in to_json(board)["panels"]:
        panels += [panel, *panel.get("panels", [])]
    return panels


def test_there_are_four() -> None:
    """Each with a name of its own."""
    assert len({board.uid for board in BOARDS}) == len({board.title for board in BOARDS}) == 4


@each_board
def test_panels_have_ids_and_places_of_their_own(board: Board) -> None:
    """Inside the 24 columns, and none over another."""
    panels = drawn(board)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= COLUMNS
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells

    assert len({panel["id"] for panel in panels}) == len(panels)


@each_board
def test_panels_say_what_they_are(board: Board) -> None:
    """In words, with a unit, and with no title twice."""
    titles = [panel.title for panel in board.panels()]

    assert len(set(titles)) == len(titles)
    for panel in board.panels():
        assert panel.title
        assert panel.description.endswith("."), panel.title
        assert panel.unit in UNITS, panel.title
        assert panel.queries, panel.title


@each_board
def test_queries_follow_the_variables(board: Board) -> None:
    """Of source, job and instance; a board that ignores them shows what nobody chose."""
    for panel in board.panels():
        for query in panel.queries:
            assert 'job=~"$job"' in query.expression, panel.title
    for found in drawn(board):
        sources = [target["datasource"]["uid"] for target in found.get("targets", [])]
        assert set(sources) <= {"${datasource}"}


@each_board
def test_counters_are_rates(board: Board) -> None:
    """A total since the start says nothing, and a fixed window hides what is between two points."""
    for panel in board.panels():
        for query in panel.queries:
            counted = re.findall(
                rf"(\w+\()?\b({COUNTERS}|\w+_bucket)\{{([^}}]*)\}}(\S*)", query.expression
            )
            for function, name, _, window in counted:
                assert function == "rate(", (panel.title, name)
                assert window.startswith("[$__rate_interval]"), (panel.title, name)


@each_board
def test_board_cannot_be_changed_in_place(board: Board) -> None:
    """The file is the truth."""
    made = to_json(board)

    assert made["id"] is None
    assert made["editable"] is False
    assert len(str(made)) < MAX_BYTES
    assert [variable["name"] for variable in made["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
    ]


def test_heat_is_of_buckets() -> None:
    """Grafana would have to make them up."""
    for board in BOARDS:
        for panel in board.panels():
            if panel.kind is Kind.HEAT:
                assert all("_bucket{" in query.expression for query in panel.queries)


def test_every_metric_is_on_a_board() -> None:
    """Whoever counts something wants somebody to see it; or says why not."""
    assert unseen("", *BOARDS) == set(NOT_SHOWN)


def test_the_metrics_are_found() -> None:
    """Of each program, and of each way to make one; else the test above looks at nothing."""
    found = exported()

    assert len(found) > 70
    assert {
        *("auth_logins", "canary_attempts", "gateway_build_info", "gateway_messages_sent"),
        *("gateway_handshakes", "gateway_send_queue_dropped", "gateway_fallback_connections"),
        *("gateway_redis_lag_seconds", "gateway_admissions_refused", "gateway_disconnects"),
    } <= found
