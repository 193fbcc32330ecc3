"""Which interpreters are taken, what is installed, and how the suite's end is read.

Small programs stand in for Python 2.7, which few machines have.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.autobahn import suite
from tests.autobahn.__main__ import EXIT_NOT_RUN, main

Program = Callable[[str], str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Make a program of lines of shell."""

    def make(lines: str) -> str:
        path = tmp_path / "python2.7"
        path.write_text(f"#!/bin/sh\n{lines}\n", "utf-8")
        path.chmod(0o755)
        return str(path)

    return make


def test_without_an_interpreter_one_line_says_what_is_needed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And nothing is installed or run."""
    assert main([]) == EXIT_NOT_RUN

    (line,) = capsys.readouterr().err.splitlines()
    assert "needs a Python 2.7" in line
    assert "make autobahn PYTHON2=" in line


def test_another_python_is_named_with_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The suite does not even parse in Python 3."""
    assert main(["--python2", sys.executable]) == EXIT_NOT_RUN

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"{sys.executable} is Python {version}" in capsys.readouterr().err


def test_what_is_no_program_is_named() -> None:
    """A wrong path is no traceback."""
    with pytest.raises(suite.SuiteError, match="/nowhere/python cannot be run"):
        suite.check("/nowhere/python")


def test_an_interpreter_without_pip_is_told_how_to_get_it(program: Program) -> None:
    """Debian's has none."""
    python2 = program('test "$2" != pip && echo 2.7')

    with pytest.raises(suite.SuiteError, match=r"has no pip; perhaps: .* -m ensurepip"):
        suite.check(python2)


def test_the_suite_is_installed_once(program: Program, tmp_path: Path) -> None:
    """By hash, into a directory of its own, and again for another interpreter or other versions."""
    orders, directory = tmp_path / "orders", tmp_path / "installed"
    python2 = program(f'mkdir -p "{directory}"\necho "$@" >> "{orders}"')

    suite.install(python2, directory)
    suite.install(python2, directory)
    (directory / "stamp").write_text("of another", "utf-8")
    suite.install(python2, directory)

    first, second = orders.read_text("utf-8").splitlines()
    assert first == second
    assert f"--target {directory} --no-deps --require-hashes" in first


def test_what_pip_cannot_install_is_not_taken_for_installed(
    program: Program, tmp_path: Path
) -> None:
    """The next run tries again."""
    python2, directory = program("exit 1"), tmp_path / "installed"

    for _ in range(2):
        with pytest.raises(suite.SuiteError, match="could not be installed"):
            suite.install(python2, directory)


def ran(python2: str, tmp_path: Path) -> int:
    """Let a program pass for the suite."""
    return asyncio.run(
        suite.run(python2, tmp_path, port=1, cases=["7.*"], report=tmp_path / "report")
    )


def test_the_suite_says_how_many_cases_it_runs(program: Program, tmp_path: Path) -> None:
    """So that a report can be held against it; an earlier one is gone."""
    (tmp_path / "report").mkdir()
    python2 = program('cat "$7"; test -d "${7%.json}" || echo "Ok, will run 46 test cases against"')

    assert ran(python2, tmp_path) == 46
    said = (tmp_path / "report.log").read_text("utf-8")
    assert '"url": "ws://127.0.0.1:1"' in said
    assert '"cases": ["7.*"]' in said


@pytest.mark.parametrize("lines", ["echo will run 46 test cases; exit 1", "echo hello"])
def test_a_suite_that_fails_is_no_verdict(program: Program, tmp_path: Path, lines: str) -> None:
    """Where it has said why is told."""
    with pytest.raises(suite.SuiteError, match=r"ended with status [01]: .*report\.log"):
        ran(program(lines), tmp_path)


def test_every_requirement_has_its_hash() -> None:
    """The file is not written by ``make lock``."""
    lines = suite.REQUIREMENTS.read_text("utf-8").splitlines()
    pinned = [index for index, line in enumerate(lines) if "==" in line]

    assert any(lines[index].startswith("autobahntestsuite==") for index in pinned)
    assert all("--hash=sha256:" in lines[index + 1] for index in pinned)
