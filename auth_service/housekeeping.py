"""The task of a serving process that now and then deletes what nobody needs any more."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from auth_service.exceptions import StoreUnavailable
from auth_service.store.database import Database
from auth_service.store.prune import Retention, prune

PERIOD_SECONDS = 600.0

_log = logging.getLogger(__name__)


class Housekeeping:
    """Prunes until it is closed; an outage of the database is waited out.

    Args:
        database: What is pruned.
        retention: How long some things are kept.
        clock: Seconds since 1970.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        *,
        database: Database,
        retention: Retention,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def close(self) -> None:
        """Stop; what is half deleted is undone by the database."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def once(self) -> dict[str, int]:
        """Prune now; returns how many rows of which table are gone.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        now = int(self._clock())
        return await prune(self._database, now=now, retention=self._retention)

    async def _run(self) -> None:
        while True:
            # Workers that were started together do not all come at once.
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 - nothing secret
            await self._sleep(PERIOD_SECONDS * jitter)
            try:
                deleted = await self.once()
            except StoreUnavailable:
                _log.warning("nothing pruned", extra={"reason": "the database does not answer"})
            except Exception:  # noqa: BLE001 - must not end it for the life of the process
                _log.exception("nothing pruned")
            else:
                rows = {table: count for table, count in deleted.items() if count}
                if rows:
                    _log.info("pruned", extra={"rows": rows})
