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


def test_there_is_room_for_so_many() -> None:
    """What was not heard of for the longest time is forgotten."""
    positions = LastPositions(2)
    for channel in ("a", "b", "a", "c"):
        positions.note(channel, HERE)

    assert len(positions) == 2
    assert dict(positions) == {"a": HERE, "c": HERE}
