"""Which commands of one connection have come before, where its transport may bring one twice.

Commands that travel as HTTP requests of their own overtake each other, and a browser whose
connection broke before the answer sends the request again by itself. So numbers may come in any
order, and each is carried out once.
"""

from __future__ import annotations

WINDOW = 1024
"""How far, in command ids, one may come behind the highest."""

_MASK = (1 << WINDOW) - 1


class Repeats:
    """The latest ids of one client's commands; its size does not grow.

    An id that is further behind than ``WINDOW`` counts as a repeat: nobody can say any more.
    """

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit n: the id that is n below the highest

    def note(self, number: int) -> bool:
        """Note an id, from 1; returns whether it has been there."""
        ahead = number - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _MASK if ahead < WINDOW else 1
            self._highest = number
            return False
        if -ahead >= WINDOW:
            return True
        bit = 1 << -ahead
        if self._seen & bit:
            return True
        self._seen |= bit
        return False
