"""The command line as a whole; each command has a test of its own."""

from __future__ import annotations

import os

import pytest

from auth_service.cli import main


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set, and nothing is there."""
    for variable in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("command", [["serve"], ["users", "list"], ["migrate"], ["prune"]])
def test_a_wrong_setting_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """No traceback."""
    monkeypatch.setenv("AUTH_ACCESS_TOKEN_SECONDS", "abc")

    assert main(command) == 2

    assert capsys.readouterr().err == (
        "AUTH_ACCESS_TOKEN_SECONDS: must be a whole number between 60 and 3600, not 'abc'\n"
    )


@pytest.mark.parametrize(
    "noun",
    ["serve", "migrate", "prune", "users", "clients", "sessions", "tokens", "keys", "audit"],
)
def test_every_command_has_a_help(capsys: pytest.CaptureFixture[str], noun: str) -> None:
    """Which needs no settings."""
    with pytest.raises(SystemExit) as ended:
        main([noun, "--help"])

    assert ended.value.code == 0
    assert f"auth_service {noun}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["users"], ["magic"], ["keys", "rotate", "x"]])
def test_a_mistake_in_the_arguments_is_status_2(arguments: list[str]) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
