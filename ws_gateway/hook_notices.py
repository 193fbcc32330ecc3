"""Telling the operator's hooks what has happened, when nobody waits for them to hear it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

_Notice = TypeVar("_Notice")


class Notices(Generic[_Notice]):
    """A queue of limited length, worked off by a few at a time.

    Args:
        tell: Delivers one; raises nothing.
        limit: How many may wait; one more is dropped, and counted.
        at_once: How many are under way at once.

    Attributes:
        dropped: How many found no room.
    """

    def __init__(
        self, tell: Callable[[_Notice], Awaitable[None]], *, limit: int = 10_000, at_once: int = 8
    ) -> None:
        self.dropped = 0
        self._tell = tell
        self._limit = limit
        self._at_once = at_once
        self._waiting: deque[_Notice] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    def put(self, notice: _Notice) -> None:
        """Queue one, on the event loop; never waits."""
        if len(self._waiting) >= self._limit:
            if not self.dropped:
                logger.warning("hook notices are dropped", extra={"waiting": self._limit})
            self.dropped += 1
            return
        self._waiting.append(notice)
        if len(self._workers) < self._at_once:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def finish(self, seconds: float) -> None:
        """Wait until all are delivered, for a limited time."""
        if self._workers:
            await asyncio.wait(self._workers, timeout=seconds)

    def close(self) -> None:
        """Deliver no more."""
        self._waiting.clear()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while self._waiting:
            await self._tell(self._waiting.popleft())
