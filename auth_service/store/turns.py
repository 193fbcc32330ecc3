"""Whose turn it is to write, where there can be one writer at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A lock with two queues, which are served in turn.

    A transaction takes as long as its owner takes between two statements. Were there one queue, a
    single statement, which many wait for and which is done at once, would wait for all of them.
    """

    def __init__(self) -> None:
        self._taken = False
        self._last_brief = False
        self._brief: deque[asyncio.Future[None]] = deque()
        self._long: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def take(self, *, brief: bool, seconds: float | None = None) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Args:
            brief: Whether it is given back as soon as the disk allows.
            seconds: How long the wait may be; None: any time.

        Raises:
            TimeoutError: The wait was too long.
        """
        async with asyncio.timeout(seconds):
            await self._acquire(brief=brief)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, *, brief: bool) -> None:
        if not self._taken:
            self._taken, self._last_brief = True, brief
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._brief if brief else self._long).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had come just then
                self._release()
            raise

    def _release(self) -> None:
        order = (self._long, self._brief) if self._last_brief else (self._brief, self._long)
        for queue in order:
            while queue:
                turn = queue.popleft()
                if not turn.done():  # else whoever waited has gone
                    self._last_brief = queue is self._brief
                    turn.set_result(None)
                    return
        self._taken = False
