"""What Prometheus reads of the canary."""

from __future__ import annotations

import subprocess

from prometheus_client import CollectorRegistry, generate_latest

from infra.canary.metrics import Metrics, Stage
from infra.stack import programs


def test_every_outcome_is_there_from_the_start() -> None:
    """Four stages, two outcomes, and nothing that grows."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, 5)
    metrics.count(Stage.PUBLISH, good=False)

    lines = generate_latest(registry).decode().splitlines()
    attempts = [line for line in lines if line.startswith("canary_attempts_total{")]
    assert len(attempts) == 8
    assert 'canary_attempts_total{outcome="failure",stage="publish"} 1.0' in attempts
    assert sum(float(line.split()[-1]) for line in attempts) == 1
    assert "canary_interval_seconds 5.0" in lines


def test_they_are_well_named() -> None:
    """By Prometheus' own conventions."""
    registry = CollectorRegistry()
    Metrics(registry, 5)

    checked = subprocess.run(  # noqa: S603 - our own command
        [programs.find("promtool"), "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, b"")
