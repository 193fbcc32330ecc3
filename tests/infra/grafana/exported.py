"""What our programs export, and which of it a board asks for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from auth_service.metrics import Metrics as AuthMetrics
from infra.canary.metrics import Metrics as CanaryMetrics
from infra.grafana.dashboard import Board
from ws_gateway.metrics import Metrics as GatewayMetrics

#: Of one metric of Prometheus.
ENDINGS = ("", "_total", "_bucket", "_count", "_sum")
GATEWAY = Path("ws_gateway")


def exported() -> set[str]:
    """Name every metric of our own programs, without the ending of its samples.

    Parts of the gateway add theirs where they are made, some of them only if they are wanted, so
    their names are read from the source.
    """
    gateway, canary = CollectorRegistry(), CollectorRegistry()
    GatewayMetrics(gateway, "0")
    CanaryMetrics(canary, 1)
    registries = (gateway, canary, AuthMetrics().registry)
    found = {metric.name for registry in registries for metric in registry.collect()}
    for path in GATEWAY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"gateway_[a-z_]+", str(node.value)):
                found.add(str(node.value))
    return found


def asked(*boards: Board) -> set[str]:
    """Name whatever the boards' queries name: series above all, recorded ones among them."""
    return {
        name
        for board in boards
        for panel in board.panels()
        for query in panel.queries
        for name in re.findall(r"[\w:]+", query.expression)
    }


def unseen(program: str, *boards: Board) -> set[str]:
    """Name a program's metrics that are on none of the boards; all programs' if it is empty."""
    names = asked(*boards)
    return {
        name
        for name in exported()
        if name.startswith(program) and not names & {f"{name}{ending}" for ending in ENDINGS}
    }
