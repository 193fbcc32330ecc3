"""The arithmetic of repeated runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.gateway.accounting import (
    Spread,
    cpu_of,
    family,
    merged,
    percentile,
    ratios,
    rss_of,
)


def test_a_spread_is_the_median_and_the_ends() -> None:
    """One run that was disturbed moves an end, and not the middle."""
    assert Spread.of([3.0, 1.0, 2.0, 90.0, 2.5]) == Spread(2.5, 1.0, 90.0)


def test_a_spread_is_written_with_its_range() -> None:
    """In the unit and with the digits that the row wants."""
    assert Spread(2e-6, 1e-6, 3.14e-6).words(" µs", scale=1e6, digits=2) == "2.00 µs (1.00-3.14)"
    assert Spread(1234.0, 1234.0, 1234.0).words(digits=0) == "1,234"


def test_ratios_compare_runs_that_were_neighbours() -> None:
    """When the machine is slow for a while, both of a pair are."""
    assert ratios([2.0, 20.0], [1.0, 10.0]) == Spread(2.0, 2.0, 2.0)


def test_ratios_want_as_many_of_both() -> None:
    """Else somebody had no turn."""
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_histograms_are_added_up() -> None:
    """A percentile of all is no mean of percentiles."""
    total = merged([{1: 98, 5: 2}, {1: 100}, {700: 1}])

    assert total == {1: 198, 5: 2, 700: 1}
    assert percentile(total, 0.5) == 1
    assert percentile(total, 0.99) == 5
    assert percentile(total, 1.0) == 700


def test_a_percentile_is_a_value_that_was_there() -> None:
    """The nearest rank, as the other tables have it."""
    assert percentile({10: 1, 20: 1, 30: 1, 40: 1}, 0.5) == 20
    assert percentile({}, 0.5) == 0


def test_what_a_server_has_started_counts_with_it() -> None:
    """A server of several processes would else be cheaper than one of one."""
    script = "import subprocess, sys; subprocess.run(['cat'], stdin=sys.stdin)"
    with subprocess.Popen(  # noqa: S603 - our own words only
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(b"there\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"there\n"

        everyone = family(parent.pid)

        assert everyone[0] == parent.pid
        assert len(everyone) == 2
        assert rss_of([parent.pid]) > rss_of([everyone[1]]) > 0
        parent.stdin.close()


def test_cpu_is_counted_in_seconds() -> None:
    """Of user and system together."""
    before = cpu_of([os.getpid()])
    begin = os.times()
    while sum(os.times()[:2]) - sum(begin[:2]) < 0.1:
        sum(range(1000))

    assert 0.05 < cpu_of([os.getpid()]) - before < 5
