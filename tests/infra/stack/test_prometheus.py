"""Whom Prometheus scrapes."""

from __future__ import annotations

import json
from pathlib import Path

from infra.stack import prometheus
from infra.stack.settings import Ports


def test_every_gateway_is_a_target() -> None:
    """On its internal port."""
    targets = prometheus.targets(Ports(), 3)

    assert targets["ws-gateway"] == ["127.0.0.1:9011", "127.0.0.1:9012", "127.0.0.1:9013"]
    assert targets["auth-service"] == ["127.0.0.1:9001"]
    assert [port for job in ("nginx", "redis", "prometheus") for port in targets[job]] == [
        "127.0.0.1:9191",
        "127.0.0.1:9192",
        "127.0.0.1:9190",
    ]


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    """Prometheus reads a file again whenever it is written."""
    prometheus.write_targets(prometheus.targets(Ports(), 1), tmp_path / "targets")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "targets").iterdir()}
    prometheus.write_targets(prometheus.targets(Ports(), 2), tmp_path / "targets")
    after = {path.name: path.stat().st_ino for path in (tmp_path / "targets").iterdir()}

    assert {name for name in before if before[name] != after[name]} == {"ws-gateway.json"}
    content = json.loads((tmp_path / "targets" / "ws-gateway.json").read_text())
    assert content == [{"targets": ["127.0.0.1:9011", "127.0.0.1:9012"]}]
