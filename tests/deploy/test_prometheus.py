"""Prometheus' configuration, read by the real program."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from infra.stack import prometheus
from infra.stack.settings import Ports
from tests.promtool import promtool


def test_prometheus_accepts_the_configuration(tmp_path: Path) -> None:
    """Together with the rules and the files of its targets."""
    shutil.copy(prometheus.SOURCE, tmp_path)
    shutil.copytree(prometheus.SOURCE.parent / "rules", tmp_path / "rules")
    prometheus.write_targets(prometheus.targets(Ports(), 2), tmp_path / "targets")

    said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert "WARNING" not in said


def test_every_job_has_its_targets() -> None:
    """A job without a file would be silent for ever."""
    text = prometheus.SOURCE.read_text("utf-8")
    jobs = re.findall(r"job_name: (\S+)", text)
    files = re.findall(r"files: \[targets/(\S+)\.json\]", text)

    assert jobs == files == list(prometheus.targets(Ports(), 1))
