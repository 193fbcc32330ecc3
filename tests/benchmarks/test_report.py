"""The page of figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.report import Row

PAGE = """# What it costs

Words.

## Before

1

## The thing

old

## After

2
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of its own."""
    path = tmp_path / "performance.md"
    path.write_text(PAGE, "utf-8")
    monkeypatch.setattr(report, "PAGE", path)
    monkeypatch.setattr(report, "PICTURES", tmp_path)
    return path


def test_a_part_takes_its_own_place(page: Path) -> None:
    """The others stay as they were measured."""
    rows = [Row("speed", "1 µs", False, "≤ 0.5 µs")]

    report.show("The thing", [("One, two", rows)], save=True, notes=["How."])

    text = page.read_text("utf-8")
    assert "old" not in text
    assert "| speed | 1 µs | ≤ 0.5 µs | missed |" in text
    assert text.index("## Before") < text.index("## The thing") < text.index("How.")
    assert text.index("### One, two") < text.index("## After")


def test_a_part_that_is_new_comes_last(page: Path) -> None:
    """And what is there already is left alone."""
    report.show("More", [], save=True)

    assert page.read_text("utf-8").startswith(PAGE + "\n## More\n")


def test_a_picture_is_named_as_its_table(page: Path) -> None:
    """By what a file and an address may be called."""
    title = "One publisher, 1,000 receive"

    report.show("The thing", [(title, [])], save=True, pictures={title: "<svg/>"})

    file = page.parent / "bench-one-publisher-1-000-receive.svg"
    assert file.read_text("utf-8") == "<svg/>"
    assert f"](images/{file.name})" in page.read_text("utf-8")


def test_a_look_leaves_the_page_alone(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed only."""
    report.show("The thing", [("One", [Row("speed", "1 µs", True, "")])], save=False)

    assert page.read_text("utf-8") == PAGE
    assert "speed" in capsys.readouterr().out
