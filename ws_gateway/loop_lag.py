"""How late the event loop is: what every client waits for, whatever else is fast."""

from __future__ import annotations

import asyncio

from ws_gateway.metrics import Buckets

INTERVAL_SECONDS = 0.25
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class LoopLag:
    """Sets a timer again and again, and counts by how much each was late.

    Args:
        loop: Whose lag.

    Attributes:
        seconds: The lags.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds = Buckets(_BOUNDS)
        self._loop = loop
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._arm()

    def stop(self) -> None:
        """End; what was counted stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._due = self._loop.time() + INTERVAL_SECONDS
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        # A loop that keeps its time to the millisecond may also ring a fraction of one early.
        self.seconds.observe(max(0.0, self._loop.time() - self._due))
        self._arm()
