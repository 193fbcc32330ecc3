"""A machine that lacks something passes at home and fails in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="no IPv6 here")
def test_marked():
    pass

def test_calling():
    pytest.skip("no IPv6 here")
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "2 skipped"), ("true", "failed")])
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    """Also one that happens before the test begins; it says why."""
    (tmp_path / "test_some.py").write_text(SKIPPED, "utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.no_skips", "--rootdir=.", "."],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode != 0) is bool(ci)
    assert outcome in done.stdout
    assert "no IPv6 here" in done.stdout or not ci
