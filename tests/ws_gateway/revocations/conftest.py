"""A log of revocations, with clocks that are moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ws_gateway.revocations.deny_set import Revocation
from ws_gateway.revocations.log import RevocationLog

NOW = 1_900_000_000
STALE_SECONDS = 10
LATER = NOW + 600


class Clock:
    """The time of day and the monotonic clock, moved by hand together."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        """Return the time it was moved to."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def log(clock: Clock) -> RevocationLog:
    """A log that nothing was read of."""
    return RevocationLog(
        "https://a.example", stale_seconds=STALE_SECONDS, clock=clock, monotonic=clock
    )


@pytest.fixture
def told(log: RevocationLog) -> list[Revocation]:
    """What was new in the log."""
    found: list[Revocation] = []
    log.on_revoked = found.extend
    return found


def entry(kind: str = "sid", value: str = "s", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an entry's fields."""
    return {
        "kind": kind,
        "value": value,
        "sub": "",
        "before": 0,
        "until": LATER,
        "reason": "logout",
    } | changes


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process or task brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.005)
