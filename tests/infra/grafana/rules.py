"""The rules that Prometheus is given, read."""

from __future__ import annotations

from typing import Any

import yaml

from infra.stack import prometheus


def rules(kind: str) -> list[dict[str, Any]]:
    """Return those of a kind: ``record`` or ``alert``."""
    return [
        rule
        for path in prometheus.rules()
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if kind in rule
    ]
