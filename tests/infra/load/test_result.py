"""What one process has measured, and how it is added up."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from infra.load.result import Histogram, Result, Sample


@pytest.mark.parametrize(("share", "expected"), [(0.5, 500), (0.95, 950), (0.99, 990), (1, 1000)])
def test_quantiles_are_within_a_percent(share: float, expected: float) -> None:
    """The ones of locust have two digits."""
    histogram = Histogram()
    for milliseconds in range(1, 1001):
        histogram.add(milliseconds)

    assert histogram.quantile(share) == pytest.approx(expected, rel=0.01)
    assert histogram.count == 1000


def test_nothing_has_no_quantile() -> None:
    """And nothing fails over it."""
    assert math.isnan(Histogram().quantile(0.5))


def test_no_time_at_all_is_the_smallest() -> None:
    """A clock that went back a little does not stop the test."""
    histogram = Histogram()
    histogram.add(0)
    histogram.add(-1)

    assert histogram.quantile(1) == pytest.approx(0.001, rel=0.01)


def test_quantiles_of_two_processes_are_those_of_all() -> None:
    """Added up, not averaged."""
    fast, slow = Histogram(), Histogram()
    for _ in range(99):
        fast.add(1)
    slow.add(100)
    fast.merge(slow)

    assert fast.quantile(0.99) == pytest.approx(1, rel=0.01)
    assert fast.quantile(1) == pytest.approx(100, rel=0.01)


def test_what_is_written_is_read() -> None:
    """Between the processes there is a file."""
    result = Result(started=3, settled=2, published=7, delivered=20, owed=19)
    result.nodes["gateway"] += 3
    result.lost["room:one"] += 1
    result.failures["lost: in room:one"] += 1
    result.samples.append(Sample(at=1.0, published=4, delivered=8, cpu=0.25))
    result.measure("delivery", 12.5)

    read = Result.load(result.dump())

    assert read.dump() == result.dump()
    assert read.lost == Counter({"room:one": 1})
    assert read.samples == result.samples
    assert read.histograms["delivery"].count == 1
