"""Stretches of time."""

from __future__ import annotations

from math import inf

from tests.chaos.spans import Spans


def test_spans_that_touch_are_one() -> None:
    """In whichever order they come."""
    spans = Spans([(5, 6), (1, 3), (3, 4)])

    assert [moment for moment in range(8) if spans.holds(moment)] == [1, 2, 3, 4, 5, 6]


def test_meets_knows_any_common_part() -> None:
    """Both ends count."""
    spans = Spans([(1, 2), (5, 6)])

    assert spans.meets(2, 3)
    assert spans.meets(0, 9)
    assert not spans.meets(3, 4)
    assert not Spans().meets(0, 1)


def test_the_longest_gap_is_between_beginning_and_end() -> None:
    """With or without something in it."""
    spans = Spans([(1, 2), (5, 6), (8, inf)])

    assert spans.longest_gap(0, 20) == 3
    assert spans.longest_gap(5.5, 7) == 1
    assert spans.longest_gap(9, 20) == 0
    assert Spans().longest_gap(2, 5) == 3


def test_what_is_covered_is_counted_once() -> None:
    """And only where it was asked about."""
    spans = Spans([(0, 2), (1, 3), (5, 9)])

    assert spans.covered(1, 6) == 3
    assert spans.covered(3, 5) == 0
