"""The token service's revocation log, and what publishes it, in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from auth_service.app import Service, open_service
from auth_service.redis_address import connect
from auth_service.revocation_publisher import STREAM, RevocationPublisher
from auth_service.settings import Settings
from auth_service.store import revocations
from auth_service.store.revocations import Revocation


class Log:
    """A log that is being published.

    Args:
        service: Whose.
        url: Of Redis.
    """

    def __init__(self, service: Service, url: str) -> None:
        self._service = service
        self.publisher = RevocationPublisher(
            log=service.revocation_log,
            redis=connect(url, STREAM),
            metrics=service.metrics,
            clock=service.clock,
        )

    async def revoke(self, session: str) -> None:
        """End a session."""
        now = int(time.time())
        entry = Revocation(kind="sid", value=session, sub="", until=now + 900, reason="logout")
        async with self._service.database.write() as connection:
            await revocations.append(connection, entry, now=now)
        self._service.revocation_log.appended(1)


@contextlib.asynccontextmanager
async def publishing(directory: Path, url: str) -> AsyncIterator[Log]:
    """Publish a log for a while.

    Args:
        directory: For its database and keys.
        url: Of Redis.
    """
    settings = Settings.from_environment(
        {
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{directory}/auth.db",
            "AUTH_KEYS_DIR": f"{directory}/keys",
        }
    )
    async with open_service(settings) as service:
        log = Log(service, url)
        running = asyncio.create_task(log.publisher.run())
        try:
            yield log
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
