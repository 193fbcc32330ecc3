"""Answers for people and programs."""

from __future__ import annotations

import argparse
import json

import pytest

from auth_service.commands import output

PEOPLE = argparse.Namespace(json=False)
PROGRAMS = argparse.Namespace(json=True)


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as the widest cell, without blanks at the end."""
    rows: list[dict[str, object]] = [
        {"name": "a", "scopes": ["x", "y"]},
        {"name": "alice", "scopes": None},
    ]

    output.show_list(PEOPLE, ["name", "scopes"], rows)

    assert capsys.readouterr().out == "name   scopes\na      x y\nalice  -\n"


def test_an_empty_list_has_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """So that nobody thinks the order failed."""
    output.show_list(PEOPLE, ["name"], [])

    assert capsys.readouterr().out == "name\n"


def test_fields_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each."""
    output.show(PEOPLE, {"a": True, "long": "", "info": {"name": "x"}})

    assert capsys.readouterr().out == 'a     yes\nlong  -\ninfo  {"name": "x"}\n'


def test_programs_get_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """On one line, with what columns leave out."""
    output.show_list(PROGRAMS, ["name"], [{"name": "a", "more": [1]}])

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == [{"name": "a", "more": [1]}]


def test_a_strangers_text_does_not_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A browser's name may hold anything."""
    output.show(PEOPLE, {"user_agent": "\x1b[2Jgone\nmore\u202e"})
    output.show(PROGRAMS, {"user_agent": "\x1b"})

    assert capsys.readouterr().out == (
        'user_agent  \\u001b[2Jgone\\u000amore\\u202e\n{"user_agent": "\\u001b"}\n'
    )


def test_a_moment_is_in_utc() -> None:
    """And none stays none."""
    assert output.moment(1_900_000_000) == "2030-03-17T17:46:40Z"
    assert output.moment(None) is None


def test_notices_are_no_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the other stream."""
    output.notice("more")
    output.write_lines("a", "b")

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("a\nb\n", "more\n")
