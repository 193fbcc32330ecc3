"""The decision records keep their form."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "adr").glob("*.md"))


def test_numbers_run_from_one_without_a_gap() -> None:
    """ADR 0001: a page's number is the next one."""
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_was_decided_and_what_keeps_it_true(page: Path) -> None:
    """ADR 0001: context, decision and confirmation are there, and the title has the number."""
    text = page.read_text("utf-8")

    assert text.startswith(f"# {page.name[:4]} ")
    for section in ("**Status:**", "## Context", "## Decision", "## Confirmation"):
        assert section in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tests_a_page_names_exist(page: Path) -> None:
    """A confirmation that is no longer there confirms nothing."""
    root = page.parents[2]
    named = [word.strip("`.,;:") for word in page.read_text("utf-8").split() if "`tests/" in word]

    assert [path for path in named if not (root / path).exists()] == []
