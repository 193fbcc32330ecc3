"""Which publications have come, and which have been overtaken."""

from __future__ import annotations


class Sequence:
    """The numbers of one publisher's publications, as they are acknowledged and as they come.

    Publications of a channel come in their order, those that history fills in among them. So
    one that was acknowledged and has not come when a later one does, never will.
    """

    def __init__(self) -> None:
        self._waiting: set[int] = set()
        self._last = 0

    def acknowledge(self, number: int) -> None:
        """Note that a publication was taken; it may have come before its acknowledgement."""
        if number > self._last:
            self._waiting.add(number)

    def receive(self, number: int) -> int:
        """Note that a publication came; returns how many acknowledged ones it has overtaken."""
        if number <= self._last:
            return 0
        self._last = number
        passed = {waiting for waiting in self._waiting if waiting <= number}
        self._waiting -= passed
        return len(passed - {number})
