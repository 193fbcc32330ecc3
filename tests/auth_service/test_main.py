"""``python -m auth_service``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.integration
def test_a_wrong_setting_ends_the_process_without_a_traceback() -> None:
    """One line on standard error, exit status 2."""
    result = subprocess.run(
        [sys.executable, "-m", "auth_service", "serve"],
        cwd=ROOT,
        env={**os.environ, "AUTH_ACCESS_TOKEN_SECONDS": "abc"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "AUTH_ACCESS_TOKEN_SECONDS: must be a whole number between 60 and 3600, not 'abc'\n"
    )
