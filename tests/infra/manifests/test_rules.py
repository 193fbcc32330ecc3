"""The operator's document of Prometheus' rules."""

from __future__ import annotations

from pathlib import Path

import yaml

from infra.grafana.__main__ import files as boards
from infra.manifests import rules
from infra.stack import prometheus
from tests.promtool import promtool


def test_what_is_in_the_repository_is_what_is_written() -> None:
    """Otherwise: make manifests."""
    assert rules.FILE.read_text("utf-8") == rules.text()


def test_every_rule_is_in_it(tmp_path: Path) -> None:
    """And is one, for the real Prometheus."""
    document = yaml.safe_load(rules.text())
    there = [rule for group in document["spec"]["groups"] for rule in group["rules"]]
    wanted = [
        rule
        for path in prometheus.rules()
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]
    assert there == wanted
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(document["spec"]))

    promtool("check", "rules", tmp_path / "rules.yml")


def test_the_component_brings_rules_and_all_boards() -> None:
    """A board that is not listed would be missing in clusters only."""
    component = yaml.safe_load((rules.FILE.parent / "kustomization.yaml").read_text("utf-8"))
    assert {rules.FILE.name, "../../../infra/grafana"} <= set(component["resources"])
    grafana = yaml.safe_load(Path("infra/grafana/kustomization.yaml").read_text("utf-8"))
    listed = [name for entry in grafana["configMapGenerator"] for name in entry["files"]]

    assert sorted(listed) == sorted(f"dashboards/{path.name}" for path in boards())
