"""Fixed times for what must not last: the head of a request, the end of a connection."""

from __future__ import annotations

import asyncio
import logging

logger = logging.getLogger(__name__)


class Deadlines:
    """Things that must be over a fixed time after they began; one timer for all.

    An insertion-ordered dict is enough, because all have the same time: the first is the next.

    Args:
        loop: The event loop.
        seconds: From :meth:`start` to the call of ``expired``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._due: dict[Expiring, float] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """How many are running."""
        return len(self._due)

    def start(self, entry: Expiring) -> None:
        """Start, or start again, the time of an entry."""
        self._due.pop(entry, None)
        self._due[entry] = self._loop.time() + self._seconds
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._sweep)

    def stop(self, entry: Expiring) -> None:
        """Forget an entry, if it is there."""
        self._due.pop(entry, None)
        if self._waiting is not None:
            self._tell_if_none()

    async def none(self) -> None:
        """Wait until nothing is running."""
        if self._due:
            self._waiting = self._waiting or self._loop.create_future()
            await asyncio.shield(self._waiting)

    def _tell_if_none(self) -> None:
        if not self._due and self._waiting is not None:
            self._waiting.set_result(None)
            self._waiting = None

    def _sweep(self) -> None:
        self._handle = None
        now = self._loop.time()
        while self._due:
            entry, due = next(iter(self._due.items()))
            if due > now:
                # Not more than one wake-up a resolution step, however many begin meanwhile.
                self._handle = self._loop.call_at(max(due, now + 0.05), self._sweep)
                return
            del self._due[entry]
            try:
                entry.expired()
            except Exception:
                # One entry's bug must not stop the clock of all the others.
                logger.exception("deadline failed")
        self._tell_if_none()


class Expiring:
    """Something a :class:`Deadlines` can end."""

    __slots__ = ()

    def expired(self) -> None:
        """The time is over."""
        raise NotImplementedError
