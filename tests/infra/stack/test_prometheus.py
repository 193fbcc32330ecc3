"""Whom Prometheus scrapes."""

from __future__ import annotations

import json
from pathlib import Path

from infra.stack import prometheus
from infra.stack.settings import Ports


def test_every_gateway_is_a_target() -> None:
    """On its internal port."""
    targets = prometheus.targets(Ports(), 3)

    addresses = {job: found.addresses for job, found in targets.items()}
    assert addresses == {
        "ws-gateway": ("127.0.0.1:9011", "127.0.0.1:9012", "127.0.0.1:9013"),
        "auth-service": ("127.0.0.1:9001",),
        "nginx": ("127.0.0.1:9191",),
        "redis": ("127.0.0.1:9192",),
        "postgresql": ("127.0.0.1:9194",),
        "front": ("127.0.0.1:9195",),
        "canary": (),
        "prometheus": ("127.0.0.1:9190",),
    }


def test_the_database_of_somebody_else_is_not_scraped() -> None:
    """Its numbers are its operator's."""
    targets = prometheus.targets(Ports(), 1, own_database=False)

    assert targets["postgresql"].addresses == ()


def test_the_front_is_asked_through_the_probe() -> None:
    """Under its own name, and over TLS with the stack's authority."""
    labels = prometheus.targets(Ports(100), 1)["front"].labels
    module = json.loads(prometheus.probe(Path("/run/ca.pem")))["modules"]["front"]

    assert labels["instance"] == "https://localhost:8543"
    assert labels["__param_target"].startswith("https://localhost:8543/")
    assert module["http"]["tls_config"] == {"ca_file": "/run/ca.pem"}
    assert module["http"]["fail_if_not_ssl"]


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    """Prometheus reads a file again whenever it is written."""
    prometheus.write_targets(prometheus.targets(Ports(), 1), tmp_path / "targets")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "targets").iterdir()}
    prometheus.write_targets(prometheus.targets(Ports(), 2), tmp_path / "targets")
    after = {path.name: path.stat().st_ino for path in (tmp_path / "targets").iterdir()}

    assert {name for name in before if before[name] != after[name]} == {"ws-gateway.json"}
    content = json.loads((tmp_path / "targets" / "ws-gateway.json").read_text())
    assert content == [{"targets": ["127.0.0.1:9011", "127.0.0.1:9012"]}]
    (front,) = json.loads((tmp_path / "targets" / "front.json").read_text())
    assert front["labels"]["__metrics_path__"] == "/probe"
