"""``audit``."""

from __future__ import annotations

import pytest

from tests.auth_service.commands.ran import Run


def test_events_are_filtered(run: Run, alice: str) -> None:
    """By subject, actor, name and time."""
    run("users", "disable", "alice")

    def events(*arguments: str) -> list[str]:
        return [event["event"] for event in run("audit", "list", "--json", *arguments).json]

    assert events("--subject", alice)[:2] == ["user_added", "user_disabled"]
    assert events("--event", "user_added") == ["user_added"]
    assert events("--actor", alice) == []
    assert "user_added" in events("--since", "1h")
    assert events("--since", "2100-01-01") == []
    assert events("--since", "2100-01-01T00:00:00Z") == []
    assert "user_added" in events("--since", "1970-01-02")


@pytest.mark.usefixtures("alice")
def test_the_newest_come_last_and_older_ones_are_mentioned(run: Run) -> None:
    """A limit cuts the old end off."""
    run("users", "disable", "alice")
    run("users", "enable", "alice")

    ran = run("audit", "list", "--limit", "1", "--json")

    assert [event["event"] for event in ran.json] == ["user_enabled"]
    assert "older" in ran.err


@pytest.mark.parametrize("since", ["yesterday", "1w", ""])
def test_a_moment_is_a_moment(run: Run, since: str) -> None:
    """Anything else is a mistake in the arguments."""
    with pytest.raises(SystemExit) as ended:
        run("audit", "list", "--since", since)

    assert ended.value.code == 2
