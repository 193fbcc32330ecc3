"""Clients as they were a moment ago: each request names one, and they hardly ever change."""

from __future__ import annotations

import time
from collections.abc import Callable

from auth_service.models import Client
from auth_service.store import clients
from auth_service.store.database import Database

#: How long another process may work with what has changed. Less than the second by which the
#: watermark of a revoked client lies ahead, so that no token is dated after it.
SECONDS = 0.5
_MAX_CLIENTS = 1_024


class RecentClients:
    """Finds clients, and remembers them for `SECONDS`.

    A change by this process counts at once.

    Args:
        database: Where they are.
        monotonic: Seconds of a clock that never goes back.
    """

    def __init__(
        self, *, database: Database, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        # Oldest first. None is not kept: made-up names would push the others out.
        self._kept: dict[str, tuple[float, Client]] = {}
        self._changes = 0
        database.on_clients = self._forget

    async def find(self, client_id: str) -> Client | None:
        """Return a client, disabled or not.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        now = self._monotonic()
        until, client = self._kept.get(client_id, (0.0, None))
        if client is not None and now < until:
            return client
        changes = self._changes
        row = await self._database.row(clients.BY_ID, client_id=client_id)
        self._kept.pop(client_id, None)
        if row is None:
            return None
        client = clients.from_row(row)
        if changes == self._changes:  # otherwise it may have been read just before the change
            while len(self._kept) >= _MAX_CLIENTS:
                del self._kept[next(iter(self._kept))]
            self._kept[client_id] = (now + SECONDS, client)
        return client

    def _forget(self) -> None:
        self._changes += 1
        self._kept.clear()
