"""``make dashboards``."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.grafana import __main__ as program


def test_committed_files_are_what_the_boards_say() -> None:
    """``make dashboards`` has nothing to do."""
    written = {path: path.read_text("utf-8") for path in program.FOLDER.iterdir()}

    assert written == program.files()


def test_a_board_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made with its folder."""
    monkeypatch.setattr(program, "FOLDER", tmp_path / "boards")

    assert program.main() == 0

    names = sorted(path.name for path in (tmp_path / "boards").iterdir())
    assert names == [
        *("drawbridge-auth.json", "drawbridge-gateway.json", "drawbridge-infrastructure.json"),
        "drawbridge-overview.json",
    ]
