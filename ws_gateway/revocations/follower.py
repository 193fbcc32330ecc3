"""Who keeps a revocation log being read, whatever happens to the reader."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from ws_gateway.exceptions import LogUnreadable
from ws_gateway.revocations.log import RevocationLog

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.05
# Half a second at most: what was revoked during an outage is to be known within one second of
# its end.
_LAST_PAUSE = 0.5


class Reader(Protocol):
    """One way to a log. It remembers where it was from one call to the next."""

    async def follow(self, log: RevocationLog) -> None:
        """Report what is in the log and what is added to it, until that fails.

        Raises:
            LogUnreadable: Always, in the end.
        """


class Follower:
    """Makes a reader read, again and again, until it is cancelled.

    Args:
        log: Whose.
        reader: The way to it.
        jitter: Returns numbers from 0 to 1. Many gateways lose a log in the same moment; this
            keeps them from coming back in the same moment.
        pause: Waits for so many seconds.
    """

    def __init__(
        self,
        log: RevocationLog,
        reader: Reader,
        *,
        jitter: Callable[[], float] = random.random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log = log
        self._reader = reader
        self._jitter = jitter
        self._pause = pause

    async def run(self) -> None:
        """Follow the log until cancelled."""
        failures = 0
        while True:
            try:
                await self._reader.follow(self._log)
            except LogUnreadable as error:
                reason = error.reason
            except Exception as error:
                # A fault of ours, or an answer nobody thought of, must not end the supervision.
                reason = type(error).__name__
                if failures == 0 or self._log.readable:
                    logger.exception("revocation reader failed", extra={"issuer": self._log.issuer})
            else:
                reason = "ended"
            if self._log.readable:
                failures = 0
            self._log.lost(reason)
            longest = min(_LAST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 30))
            failures += 1
            await self._pause(longest * (0.5 + 0.5 * self._jitter()))
