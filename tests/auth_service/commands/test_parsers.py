"""What descriptions have in common."""

from __future__ import annotations

import argparse

import pytest

from auth_service.commands.parsers import rows


@pytest.mark.parametrize("text", ["0", "-1", "", "1e3", "\u0661", "100001"])
def test_a_number_of_rows_is_a_small_positive_one(text: str) -> None:
    """In plain digits."""
    with pytest.raises(argparse.ArgumentTypeError, match="between 1 and 100000"):
        rows(text)


def test_the_number_is_returned() -> None:
    """Both ends are in."""
    assert (rows("1"), rows("100000")) == (1, 100_000)
