"""Each command counts once, in whatever order requests bring them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ws_gateway.repeats import WINDOW, Repeats


@given(st.lists(st.integers(1, WINDOW)))
def test_within_the_window_every_number_counts_once(numbers: list[int]) -> None:
    """However they are mixed."""
    repeats = Repeats()

    assert [repeats.note(number) for number in numbers] == [
        number in numbers[:index] for index, number in enumerate(numbers)
    ]


@pytest.mark.parametrize("top", [WINDOW + 1, 2 * WINDOW, 2**32 - 1])
def test_what_is_too_far_behind_counts_as_a_repeat(top: int) -> None:
    """Nothing tells any more whether it was there."""
    repeats = Repeats()
    repeats.note(top)

    assert repeats.note(top - WINDOW)
    assert not repeats.note(top - WINDOW + 1)
    assert repeats.note(top - WINDOW + 1)


def test_its_memory_is_bounded() -> None:
    """Whatever numbers a client makes up."""
    repeats = Repeats()
    for number in (*range(1, 10 * WINDOW), 2**32 - 1, 2**64):
        repeats.note(number)

    assert repeats._seen.bit_length() <= WINDOW
