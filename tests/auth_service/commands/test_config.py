"""``config``."""

from __future__ import annotations

import pytest

from tests.auth_service.commands.ran import Run

SECRET = "s3cret-s3cret-s3cret-s3cret-s3cret"


def test_settings_are_shown_with_where_they_come_from(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one has its line; a secret is hidden."""
    monkeypatch.setenv("AUTH_REVOCATIONS_KEY", SECRET)
    monkeypatch.setenv("AUTH_ACCESS_TOKEN_SECONDS", "60")

    ran = run("config", "show", "--json")

    rows = {row["variable"]: (row["value"], row["from"]) for row in ran.json}
    assert rows["AUTH_REVOCATIONS_KEY"] == ("(hidden)", "environment")
    assert rows["AUTH_DATABASE_URL"] == ("(hidden)", "environment")
    assert rows["AUTH_ACCESS_TOKEN_SECONDS"] == ("60", "environment")
    assert rows["AUTH_BIND"] == ("127.0.0.1:8001", "default")
    assert SECRET not in ran.out + run("config", "show").out


def test_a_check_is_a_line_for_each_thing(run: Run) -> None:
    """Nothing is wrong with a fresh directory."""
    ran = run("config", "check")

    assert ran.status == 0
    assert ran.out.splitlines()[0].split() == ["verdict", "subject", "text"]
    assert len(ran.out.splitlines()) > 4


def test_a_wrong_setting_is_status_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told like any other finding."""
    monkeypatch.setenv("AUTH_ACCESS_TOKEN_SECONDS", "abc")

    ran = run("config", "check", "--json")

    assert ran.status == 2
    (finding,) = ran.json
    assert finding["subject"] == "AUTH_ACCESS_TOKEN_SECONDS"
    assert finding["verdict"] == "wrong"
    assert run("config", "show").status == 2


def test_a_finding_that_is_wrong_is_status_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the settings themselves are fine."""
    monkeypatch.setenv("AUTH_KEYS_SOURCE", "files")

    assert run("config", "check").status == 2
