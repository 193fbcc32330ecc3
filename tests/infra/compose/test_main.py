"""``python -m infra.compose``."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.compose import __main__ as program


def test_it_says_what_to_type_and_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of files only."""
    assert program.main(tmp_path / "secrets") == 0

    said = capsys.readouterr().out
    assert "docker compose -f infra/compose/compose.yaml up" in said
    assert str(tmp_path / "ca.pem") in said
    password = (tmp_path / "secrets/grafana/admin-password").read_text()
    assert password not in said


def test_a_directory_of_no_use_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback."""
    (tmp_path / "file").touch()

    assert program.main(tmp_path / "file/secrets") == 1
    assert capsys.readouterr().err.count("\n") == 1
