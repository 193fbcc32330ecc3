"""What an operator types."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from auth_service.commands import typed
from auth_service.exceptions import AccountError


def _options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    typed.add_password_options(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A terminal that answers these, in turn."""
    answers: list[str] = []
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: answers.pop(0))
    return answers


def test_a_terminal_is_asked_twice(terminal: list[str]) -> None:
    """Two different answers are no password."""
    terminal[:] = ["one", "one", "one", "another"]

    assert typed.read_password(_options()) == "one"
    with pytest.raises(AccountError, match="differ"):
        typed.read_password(_options())


def test_only_the_line_end_is_taken_off_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks at its ends are part of it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(" a b \r\nmore\n"))

    assert typed.read_password(_options("--password-stdin")) == " a b "


def test_a_token_is_one_line_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks around it came by pasting."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(" a.b.c \nmore\n"))
    assert typed.read_token() == "a.b.c"

    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(AccountError, match="from the input"):
        typed.read_token()


def test_a_terminal_does_not_show_a_token(terminal: list[str]) -> None:
    """It is asked for as a password is."""
    terminal[:] = ["a.b.c"]

    assert typed.read_token() == "a.b.c"
