"""Where streams were that a process heard of lately."""

from __future__ import annotations

import pytest

from ws_gateway.broker.base import Position
from ws_gateway.broker.last_positions import NOWHERE, LastPositions

HERE = Position(5, "b0", 7)


def test_what_was_never_heard_of_is_nowhere() -> None:
    """Which is behind every position."""
    assert LastPositions(2).find("a") == NOWHERE


@pytest.mark.parametrize(
    ("later", "counts"),
    [
        (Position(6, "b0", 1), True),
        (Position(5, "b0", 8), True),
        (Position(4, "b0", 9), False),
        (Position(1, "c0", 1), True),
        (Position(9, "a0", 1), False),
        (Position(1, "a", 1), True),
    ],
    ids=["further", "another-there", "back", "newer-epoch", "older-epoch", "foreign-epoch"],
)
def test_position_never_goes_back(later: Position, *, counts: bool) -> None:
    """A reply may come after a publication that is further on than it says."""
    positions = LastPositions(2)
    positions.note("a", HERE)

    positions.note("a", later)

    assert positions.find("a") == (later if counts else HERE)


@pytest.mark.parametrize(
    ("heard", "previous", "doubtful"),
    [
        (Position(6, "b0", 1), 7, False),
        (Position(5, "b0", 7), 3, False),
        (Position(4, "b0", 9), 3, False),
        (Position(1, "c0", 1), 0, False),
        (Position(6, "b0", 1), 8, True),
        (Position(5, "b0", 8), 3, True),
        (Position(7, "b0", 1), 7, True),
    ],
    ids=["next", "same", "back", "newer-epoch", "next-of-another", "another-there", "gap"],
)
def test_position_that_a_publication_does_not_join_is_to_be_asked_about(
    heard: Position, previous: int, *, doubtful: bool
) -> None:
    """Ahead of all others; until somebody has."""
    positions = LastPositions(2)
    positions.note("a", HERE)

    positions.note("a", heard, previous)

    last = positions.find("a")
    assert list(positions) == ([("a", HERE)] if doubtful else []) + [("a", last)]
    positions.settle("a", HERE)
    assert list(positions) == [("a", last)]


def test_the_latest_doubts_are_kept() -> None:
    """As many as there is room for positions."""
    positions = LastPositions(2)
    for offset in (1, 3, 5, 7):
        positions.note("a", Position(offset, "b0", offset), 0)

    assert [position.offset for _, position in positions] == [3, 5, 7]
    assert len(positions) == 3


def test_there_is_room_for_so_many() -> None:
    """What was not heard of for the longest time is forgotten."""
    positions = LastPositions(2)
    for channel in ("a", "b", "a", "c"):
        positions.note(channel, HERE)

    assert len(positions) == 2
    assert dict(positions) == {"a": HERE, "c": HERE}
