"""What the first look shows: objectives as the rules record them, and what a client met."""

from __future__ import annotations

import yaml

from infra.grafana.overview import OVERVIEW
from infra.stack import prometheus
from tests.infra.grafana.exported import asked, unseen


def recorded() -> set[str]:
    """Name the series that the rules record."""
    return {
        rule["record"]
        for path in prometheus.rules()
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule
    }


def test_objectives_are_those_that_are_recorded() -> None:
    """A series that no rule records is an empty panel, which looks as if all were well."""
    wanted = {name for name in asked(OVERVIEW) if name.startswith("job:")}

    assert "job:gateway_handshake_errors:ratio_rate1h" in wanted
    assert not wanted - recorded()


def test_everything_the_canary_counts_is_there() -> None:
    """It has no board of its own."""
    assert not unseen("canary_", OVERVIEW)
