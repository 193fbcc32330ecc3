"""Whether subscribers got everything."""

from __future__ import annotations

import pytest

from tests.benchmarks.following import Follower, Room, together


def follow(*offsets: int) -> Follower:
    """Subscribe at the beginning and receive these."""
    follower = Follower()
    follower.begin(offset=0, epoch="e", recovering=False, recovered=False)
    for offset in offsets:
        follower.receive(offset)
    return follower


def test_a_recovery_that_joins_is_no_loss() -> None:
    """The position of a later subscription is the channel's, not the client's."""
    follower = follow(1, 2)
    follower.begin(offset=4, epoch="e", recovering=True, recovered=True)
    for offset in (3, 4, 5):
        follower.receive(offset)

    assert (follower.last, follower.lost, follower.twice, follower.told) == (5, 0, 0, 0)


@pytest.mark.parametrize(
    ("offsets", "lost", "twice"),
    [((1, 3), 1, 0), ((1, 4, 5), 2, 0), ((1, 1), 0, 1), ((2, 1), 1, 1)],
)
def test_gaps_and_repetitions_are_counted(offsets: tuple[int, ...], lost: int, twice: int) -> None:
    """What comes late counts as both."""
    follower = follow(*offsets)

    assert (follower.lost, follower.twice) == (lost, twice)


@pytest.mark.parametrize(("epoch", "recovered"), [("e", False), ("other", True)])
def test_being_told_of_a_gap_is_counted(epoch: str, recovered: bool) -> None:
    """Nothing of the kind is to happen in a rollout."""
    follower = follow(1)
    follower.begin(offset=5, epoch=epoch, recovering=True, recovered=recovered)

    assert follower.told == 1


def test_who_came_later_owes_nothing_from_before() -> None:
    """It follows from where it was let in."""
    follower = Follower()
    follower.begin(offset=7, epoch="e", recovering=False, recovered=False)
    follower.receive(8)

    assert (follower.last, follower.lost) == (8, 0)


def test_a_room_is_whole_only_over_all_processes() -> None:
    """One whose last publication nobody of this process got is found by the others'."""
    whole, behind = Room.of([follow(1, 2)], 0), Room.of([follow(1)], 1)
    rooms = together([{"a": whole, "b": whole}, {"a": behind, "b": whole}])

    assert not whole.incomplete
    assert not behind.incomplete
    assert rooms["a"].incomplete
    assert (rooms["a"].subscribers, rooms["a"].acknowledged) == (2, 1)
    assert not rooms["b"].incomplete


def test_what_was_acknowledged_and_nobody_got_is_missed() -> None:
    """All may agree and all be wrong."""
    assert Room.of([follow(1), follow(1)], 2).incomplete
