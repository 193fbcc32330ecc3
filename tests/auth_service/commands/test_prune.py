"""``prune``."""

from __future__ import annotations

from tests.auth_service.commands.ran import Run


def test_what_is_gone_is_told(run: Run) -> None:
    """A line per table."""
    counts = run("prune", "--json").json

    assert counts["sessions"] == 0
    assert [line.split() for line in run("prune").out.splitlines()] == [
        [table, "0"] for table in counts
    ]
