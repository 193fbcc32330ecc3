"""A log is followed whatever happens to its reader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from ws_gateway.exceptions import LogUnreadable
from ws_gateway.revocations.follower import Follower
from ws_gateway.revocations.log import RevocationLog

Step = Callable[[RevocationLog], None]


def fail(error: Exception) -> Step:
    """Return what a reader does that fails at once."""

    def step(_log: RevocationLog) -> None:
        raise error

    return step


def read_and_fail(log: RevocationLog) -> None:
    """Read everything, and fail then."""
    log.read(log.now())
    raise LogUnreadable("gone")


class Script:
    """A reader that does one thing each time, and stops the test after the last."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)

    async def follow(self, log: RevocationLog) -> None:
        """See Reader."""
        if not self.steps:
            raise asyncio.CancelledError
        self.steps.pop(0)(log)


async def pauses(log: RevocationLog, *steps: Step, jitter: float = 1) -> list[float]:
    """Follow, and return how long it paused after each step."""
    found: list[float] = []

    async def pause(seconds: float) -> None:
        found.append(seconds)

    follower = Follower(log, Script(*steps), jitter=lambda: jitter, pause=pause)
    with pytest.raises(asyncio.CancelledError):
        await follower.run()
    return found


class TestRun:
    """Supervised: back-off with jitter, and never the end."""

    async def test_pauses_grow_to_half_a_second(self, log: RevocationLog) -> None:
        """Not longer: what was revoked meanwhile is to be known within a second of the end."""
        found = await pauses(log, *[fail(LogUnreadable("away"))] * 6)

        assert found == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]

    async def test_jitter_halves_them_at_most(self, log: RevocationLog) -> None:
        """Many gateways lose a log in the same moment."""
        assert await pauses(log, fail(LogUnreadable("away")), jitter=0) == [0.025]

    async def test_reading_ends_the_growth(self, log: RevocationLog) -> None:
        """The next outage is a new one."""
        away = fail(LogUnreadable("away"))

        assert await pauses(log, away, away, read_and_fail, away) == [0.05, 0.1, 0.05, 0.1]

    async def test_fault_of_ours_is_logged_and_survived(
        self, log: RevocationLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once with its traceback, however often it comes."""
        await pauses(log, *[fail(RuntimeError("secret"))] * 3, read_and_fail)

        assert [record.message for record in caplog.records if record.exc_info] == [
            "revocation reader failed"
        ]
        assert "secret" not in str([vars(r).get("reason") for r in caplog.records])
        assert log.lag_seconds == 0

    async def test_reader_that_just_ends_is_started_again(self, log: RevocationLog) -> None:
        """Nobody reads then, so it is an outage."""
        assert await pauses(log, lambda _log: None, lambda _log: None) == [0.05, 0.1]
        assert not log.readable

    async def test_outage_shows_at_once(
        self, log: RevocationLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And is one line."""
        caplog.set_level(logging.WARNING)

        await pauses(log, read_and_fail, *[fail(LogUnreadable("away"))] * 9)

        assert not log.readable
        assert [vars(record)["reason"] for record in caplog.records] == ["gone"]
