"""What the first look shows: objectives as the rules record them, and what a client met."""

from __future__ import annotations

from infra.grafana.overview import OVERVIEW
from tests.infra.grafana.exported import asked, unseen
from tests.infra.grafana.rules import rules


def test_objectives_are_those_that_are_recorded() -> None:
    """A series that no rule records is an empty panel, which looks as if all were well."""
    wanted = {name for name in asked(OVERVIEW) if name.startswith("job:")}
    recorded = {rule["record"] for rule in rules("record")}

    assert "job:gateway_handshake_errors:ratio_rate1h" in wanted
    assert not wanted - recorded


def test_everything_the_canary_counts_is_there() -> None:
    """It has no board of its own."""
    assert not unseen("canary_", OVERVIEW)
