"""Prometheus' rules as the operator's document: the same files that one machine reads."""

from __future__ import annotations

from pathlib import Path

import yaml

SOURCE = Path("infra/prometheus/rules")
FILE = Path("k8s/components/monitoring/prometheus-rules.yaml")
_HEAD = (
    "# Written by `make manifests` from infra/prometheus/rules, which promtool tests.\n"
    "# yamllint disable\n"
)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as one reads it."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def text() -> str:
    """Return the document."""
    groups = [
        group
        for path in sorted(SOURCE.glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "drawbridge",
            # By which kube-prometheus finds rules.
            "labels": {"prometheus": "k8s", "role": "alert-rules"},
        },
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000)


def write() -> None:
    """Write it where the component has it."""
    FILE.write_text(text(), "utf-8")
