"""When a server keeps up."""

from __future__ import annotations

import pytest

from tests.benchmarks.gateway.generator import Delivered
from tests.benchmarks.gateway.pairs import keeps_up, offers


def outcome(sent: int, delivered: int, seconds: float) -> Delivered:
    """Make up what a run came to."""
    return Delivered(
        sent=sent,
        delivered=delivered,
        replies=delivered,
        seconds=seconds,
        cpu=0.0,
        late_us=0,
        longest_us=0,
        histogram={},
    )


@pytest.mark.parametrize(
    ("delivered", "seconds", "kept"),
    [(1_000, 1.0, True), (1_000, 1.04, True), (1_000, 1.2, False), (999, 1.0, False)],
    ids=["in time", "nearly", "behind", "one lost"],
)
def test_a_server_keeps_up_if_all_comes_in_time(delivered: int, seconds: float, kept: bool) -> None:
    """What is still on its way when the sending ends has been waiting."""
    assert keeps_up(outcome(1_000, delivered, seconds), 1_000) is kept


def test_the_offer_grows_until_it_is_too_much() -> None:
    """In steps that are all as coarse; the last is far beyond what one core does."""
    found = list(offers(1_000, 1.5))

    assert found[:3] == [1_000, 1_500, 2_250]
    assert found[-1] > 1_000_000
