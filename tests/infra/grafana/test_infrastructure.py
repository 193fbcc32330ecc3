"""What whoever is called about nginx, Redis or PostgreSQL finds on their board."""

from __future__ import annotations

import re

from infra.grafana.infrastructure import INFRASTRUCTURE
from tests.infra.grafana.exported import asked
from tests.infra.grafana.rules import rules

#: What the exporters' series begin with, and those of every process.
EXPORTERS = r"\b(?:nginx|pg|probe|process|redis)_\w+"


def test_what_calls_somebody_is_on_the_board() -> None:
    """The first question is since when."""
    alerts = {name for rule in rules("alert") for name in re.findall(EXPORTERS, rule["expr"])}

    assert {"nginx_up", "pg_up", "probe_success", "redis_up", "redis_memory_used_bytes"} <= alerts
    assert alerts <= asked(INFRASTRUCTURE)
