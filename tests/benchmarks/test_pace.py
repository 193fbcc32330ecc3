"""The busiest stretch of time."""

from __future__ import annotations

import pytest

from tests.benchmarks.pace import busiest, course

COUNTS = {100: 4, 101: 10, 103: 6, 120: 9}


@pytest.mark.parametrize(("window", "most"), [(1, 10), (2, 7), (3, 16 / 3), (5, 4), (30, 29 / 30)])
def test_the_busiest_stretch_may_begin_at_any_second(window: int, most: float) -> None:
    """And seconds in which nothing happens count."""
    assert busiest(COUNTS, window) == pytest.approx(most)


def test_nothing_is_no_pace() -> None:
    """Nobody was asked to leave."""
    assert busiest({}, 5) == 0


def test_a_course_has_all_seconds() -> None:
    """Drawn over time, what did not happen is 0."""
    assert course(COUNTS, 99, 104) == [0, 4, 10, 0, 6, 0]
