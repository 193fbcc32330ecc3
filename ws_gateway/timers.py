"""One timer for everything that waits: a wheel of coarse slots.

A ``call_later`` per connection costs over a kilobyte and a heap operation for each; here an entry
is a member of one set, and moving it is two set operations.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from typing import Protocol

logger = logging.getLogger(__name__)


class Timed(Protocol):
    """Something the wheel calls back.

    Attributes:
        slot: The wheel's own note of where the entry is; None while it waits for nothing.
    """

    slot: int | None

    def tick(self, now: float) -> None:
        """The time has come; the entry is no longer scheduled."""


class _Slot(set[Timed]):
    """Those who are called together; each notes this very number, and none of its own."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class TimerWheel:
    """Calls entries back, never early and at most one slot late.

    Args:
        loop: Its clock is the wheel's clock.
        resolution: Seconds in a slot.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, resolution: float = 0.1) -> None:
        self._loop = loop
        self._resolution = resolution
        self._slots: dict[int, _Slot] = {}
        self._order: list[int] = []  # a heap of the keys of _slots
        self._handle: asyncio.TimerHandle | None = None
        self._armed: int | None = None

    def __len__(self) -> int:
        """How many entries wait."""
        return sum(map(len, self._slots.values()))

    def schedule(self, entry: Timed, when: float) -> None:
        """Call ``entry.tick`` at loop time ``when``, instead of any earlier appointment."""
        slot = int(when / self._resolution) + 1
        if entry.slot == slot:
            return
        if entry.slot is not None:
            self._slots[entry.slot].discard(entry)
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = entries = _Slot(slot)
            heapq.heappush(self._order, slot)
            self._arm()
        entries.add(entry)
        entry.slot = entries.number

    def cancel(self, entry: Timed) -> None:
        """Forget an entry, if it waits."""
        if entry.slot is not None:
            self._slots[entry.slot].discard(entry)
            entry.slot = None

    def close(self) -> None:
        """Call nobody any more."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._armed = None
        for entries in self._slots.values():
            for entry in entries:
                entry.slot = None
            entries.clear()
        self._slots.clear()
        self._order.clear()

    def _arm(self) -> None:
        if not self._order or self._order[0] == self._armed:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._armed = self._order[0]
        self._handle = self._loop.call_at(self._armed * self._resolution, self._fire)

    def _fire(self) -> None:
        self._handle = self._armed = None
        now = self._loop.time()
        while self._order and self._order[0] * self._resolution <= now:
            slot = heapq.heappop(self._order)
            entries = self._slots[slot]
            # One by one, since each may cancel or move others of its own slot.
            while entries:
                entry = entries.pop()
                entry.slot = None
                try:
                    entry.tick(now)
                except Exception:
                    # One connection's bug must not stop the clock of all the others.
                    logger.exception("timer failed")
            self._slots.pop(slot, None)
        self._arm()
