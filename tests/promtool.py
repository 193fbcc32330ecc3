"""Prometheus' own opinion of a file."""

from __future__ import annotations

import subprocess

from infra.stack import programs


def promtool(*words: object) -> str:
    """Run it; returns all that it says, and fails the test with that where it is not content."""
    done = subprocess.run(  # noqa: S603 - our own command
        [programs.find("promtool"), *map(str, words)], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
