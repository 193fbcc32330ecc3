"""A publication is missed when it was acknowledged and a later one came without it."""

from __future__ import annotations

from infra.canary.sequence import Sequence


def test_what_comes_in_its_order_is_not_missed() -> None:
    """Before its acknowledgement or after it."""
    sequence = Sequence()

    sequence.acknowledge(1)
    assert sequence.receive(1) == 0
    assert sequence.receive(2) == 0
    sequence.acknowledge(2)
    sequence.acknowledge(3)
    assert sequence.receive(3) == 0


def test_what_is_overtaken_is_missed_once() -> None:
    """Also if it comes in the end: that is not its order."""
    sequence = Sequence()
    for number in (1, 2, 3):
        sequence.acknowledge(number)

    assert sequence.receive(3) == 2
    assert sequence.receive(1) == 0
    sequence.acknowledge(4)
    assert sequence.receive(4) == 0


def test_what_recovery_fills_in_is_not_missed() -> None:
    """It comes late, and before what is new."""
    sequence = Sequence()
    for number in (1, 2, 3):
        sequence.acknowledge(number)

    assert [sequence.receive(number) for number in (1, 2, 3)] == [0, 0, 0]


def test_what_nobody_acknowledged_may_be_missing() -> None:
    """It was promised to nobody."""
    sequence = Sequence()
    sequence.acknowledge(1)
    assert sequence.receive(1) == 0

    assert sequence.receive(5) == 0
