"""The goodbye of a process: when each of its connections is asked to come back elsewhere."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Protocol

from ws_gateway.codes import DisconnectCode

logger = logging.getLogger(__name__)

STEP_SECONDS = 0.05
# Fewer than this no other gateway notices, so that a few connections do not take the whole time.
LEAST_PER_SECOND = 20
# For the answer to a command that is being performed: what was published would not be known.
PATIENCE_SECONDS = 1.0


class Leaving(Protocol):
    """A connection, as far as it is known here.

    Attributes:
        closed: It has ended.
    """

    closed: bool

    @property
    def busy(self) -> bool:
        """Whether a command is being performed."""

    def disconnect(self, code: DisconnectCode, detail: str = "") -> None:
        """Flush what is queued and end the connection; must not wait."""


async def drain(
    connections: Iterable[Leaving],
    *,
    seconds: float,
    clock: Callable[[], float],
    hurry: asyncio.Event | None = None,
) -> None:
    """Ask every connection to come back elsewhere (3001), evenly over a time.

    The pace is kept by the clock and not by counting steps: a machine with too much to do takes
    longer steps, and what orders the end kills whoever is late.

    Args:
        connections: Those there are.
        seconds: Over how long; 0 for all at once. A few take less, see ``LEAST_PER_SECOND``. One
            that performs a command has ``PATIENCE_SECONDS`` more.
        clock: Seconds that never go back.
        hurry: When set, the rest goes at once.
    """
    waiting = list(connections)
    random.shuffle(waiting)  # neighbours in time tend to be neighbours in channels
    count = len(waiting)
    length = min(seconds, count / LEAST_PER_SECOND)
    began = clock()
    busy: list[tuple[float, Leaving]] = []
    while waiting or busy:
        now = clock()
        at_once = not seconds or (hurry is not None and hurry.is_set())
        stay = 0
        if not at_once and now < began + length:
            stay = max(0, count - 1 - int(count * (now - began) / length))
        asked = busy + [(now + PATIENCE_SECONDS, leaving) for leaving in waiting[stay:]]
        del waiting[stay:]
        busy = []
        for until, leaving in asked:
            if leaving.busy and not leaving.closed and now < until and not at_once:
                busy.append((until, leaving))
            else:
                _let_go(leaving)
        if waiting or busy:
            await _pause(STEP_SECONDS, hurry)


def _let_go(leaving: Leaving) -> None:
    try:
        leaving.disconnect(DisconnectCode.SHUTDOWN)
    except Exception:
        # One that fails must not leave the others without a code.
        logger.exception("connection not closed")


async def _pause(seconds: float, hurry: asyncio.Event | None) -> None:
    if hurry is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(hurry.wait(), seconds)
    except TimeoutError:
        return
