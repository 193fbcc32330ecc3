"""The revocation log as this process sees it: who waits for news is woken by its commits.

What other processes commit is found by looking, every quarter of a second and only while somebody
waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from auth_service.exceptions import Stopping
from auth_service.metrics import Metrics
from auth_service.store import revocations
from auth_service.store.database import Database
from auth_service.store.revocations import Revocation

LOOK_SECONDS = 0.25
PAGE = 1000


@dataclass(frozen=True, slots=True)
class News:
    """What a reader is told.

    Args:
        log: The log's id: another one after the database was replaced.
        top: The number of the last entry.
        entries: In order, with their numbers; at most `PAGE`, so there may be more below ``top``.
    """

    log: str
    top: int
    entries: list[tuple[int, Revocation]]


class RevocationLog:
    """Reads the log, and wakes those who wait for it.

    Args:
        database: Where it is.
        metrics: Where entries are counted.
        clock: Seconds since 1970.
    """

    def __init__(self, *, database: Database, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._news = asyncio.Event()
        self._closed = False
        #: When this process last committed an entry, by the monotonic clock.
        self.appended_at = 0.0

    def appended(self, count: int) -> None:
        """Note that this process has committed entries."""
        self._metrics.revocations.inc(count)
        self.appended_at = time.monotonic()
        self._wake()

    def close(self) -> None:
        """Let go of all who read, now and from now on."""
        self._closed = True
        self._wake()

    async def pause(self, seconds: float) -> None:
        """Wait until this process commits an entry, or so long."""
        news = self._news
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return

    async def position(self) -> tuple[str, int]:
        """Return the log's id and its last number.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        async with self._database.read() as connection:
            return await revocations.position(connection)

    async def after(self, seq: int) -> list[tuple[int, Revocation]]:
        """Return a page of entries above a number that still matter.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        async with self._database.read() as connection:
            return await revocations.after(connection, seq, now=int(self._clock()), limit=PAGE)

    async def read(self, since: int, *, known: str | None, seconds: float) -> News:
        """Return what is new, as soon as something is, else nothing at the end of the wait.

        Args:
            since: The last number the reader knows.
            known: The log's id as he knows it; None: he knows none.
            seconds: How long to wait.

        Raises:
            StoreUnavailable: The database does not answer.
            Stopping: The wait was cut short.
        """
        deadline = time.monotonic() + seconds
        while True:
            log, top = await self.position()
            left = deadline - time.monotonic()
            lost = since > top or known not in {None, log}
            if lost or since < top:
                entries = await self.after(0 if lost else since)
                if entries or lost:
                    # Some may have been committed since the position was read.
                    return News(log, max([top, *(seq for seq, _ in entries)]), entries)
            if left <= 0:
                return News(log, top, [])
            if self._closed:
                raise Stopping
            await self.pause(min(LOOK_SECONDS, left))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
