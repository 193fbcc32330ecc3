"""What whoever is called about nginx, Redis or PostgreSQL finds on their board."""

from __future__ import annotations

import re

import yaml

from infra.grafana.infrastructure import INFRASTRUCTURE
from infra.stack import prometheus
from tests.infra.grafana.exported import asked

#: What the exporters' series begin with, and those of every process.
EXPORTERS = r"\b(?:nginx|pg|probe|process|redis)_\w+"
#: What alerts ask and no panel shows, each with its reason.
NOT_SHOWN = {"redis_up": "all panels of Redis end where it is 0"}


def test_what_calls_somebody_is_on_the_board() -> None:
    """The first question is since when."""
    alerts = {
        name
        for path in prometheus.rules()
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
        for name in re.findall(EXPORTERS, rule["expr"])
    }

    assert {"nginx_up", "pg_up", "probe_success", "redis_memory_used_bytes"} <= alerts
    assert alerts - asked(INFRASTRUCTURE) == set(NOT_SHOWN)
