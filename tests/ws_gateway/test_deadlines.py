"""Things that must be over a fixed time after they began."""

from __future__ import annotations

import asyncio

import pytest
from typing_extensions import override

from tests.ws_gateway.raw_server import on_uvloop
from ws_gateway.deadlines import Deadlines, Expiring


class Timed(Expiring):
    """Notes when its time was over."""

    __slots__ = ("_loop", "expired_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.expired_at: float | None = None

    @override
    def expired(self) -> None:
        """See Expiring."""
        self.expired_at = self._loop.time()


class TestDeadlines:
    """One timer for all; who is stopped is forgotten."""

    @on_uvloop
    async def test_entries_expire_in_order_and_not_early(self) -> None:
        """Each after its own time."""
        loop = asyncio.get_running_loop()
        deadlines, entries = Deadlines(loop, 0.02), [Timed(loop) for _ in range(3)]
        started = []
        for entry in entries:
            started.append(loop.time())
            deadlines.start(entry)
            await asyncio.sleep(0.005)
        await deadlines.none()

        for entry, start in zip(entries, started, strict=True):
            assert entry.expired_at is not None
            assert entry.expired_at - start >= 0.019
        assert len(deadlines) == 0

    @on_uvloop
    async def test_stopped_entry_does_not_expire(self) -> None:
        """Also if it is stopped twice, or was never started."""
        loop = asyncio.get_running_loop()
        deadlines, stopped, other = Deadlines(loop, 0.01), Timed(loop), Timed(loop)
        deadlines.start(stopped)
        deadlines.start(other)
        deadlines.stop(stopped)
        deadlines.stop(stopped)
        await deadlines.none()

        assert stopped.expired_at is None
        assert other.expired_at is not None

    @on_uvloop
    async def test_entry_started_again_has_its_whole_time_again(self) -> None:
        """And is last in the order."""
        loop = asyncio.get_running_loop()
        deadlines, entry, other = Deadlines(loop, 0.02), Timed(loop), Timed(loop)
        deadlines.start(entry)
        deadlines.start(other)
        await asyncio.sleep(0.01)
        again = loop.time()
        deadlines.start(entry)
        await deadlines.none()

        assert entry.expired_at is not None
        assert entry.expired_at - again >= 0.019

    @on_uvloop
    async def test_several_may_wait_for_none(self) -> None:
        """Also if one of them is cancelled."""
        loop = asyncio.get_running_loop()
        deadlines, entry = Deadlines(loop, 60), Timed(loop)
        deadlines.start(entry)
        waiting = [asyncio.create_task(deadlines.none()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        deadlines.stop(entry)

        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [None, None]

    @on_uvloop
    async def test_entry_that_fails_does_not_stop_the_clock(self) -> None:
        """All others wait for the same timer."""
        loop = asyncio.get_running_loop()
        deadlines, other = Deadlines(loop, 0.01), Timed(loop)
        deadlines.start(Expiring())  # raises NotImplementedError
        deadlines.start(other)
        await deadlines.none()

        assert other.expired_at is not None

    def test_base_says_nothing_of_what_happens(self) -> None:
        """Every entry has its own end."""
        with pytest.raises(NotImplementedError):
            Expiring().expired()
