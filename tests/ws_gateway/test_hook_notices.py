"""Notices: in order, bounded, and waited for by nobody."""

from __future__ import annotations

import asyncio

import pytest

from ws_gateway.hook_notices import Notices


async def settle() -> None:
    """Let whatever is ready run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Listener:
    """Hears notices, once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[int] = []
        self.heard: list[int] = []

    async def tell(self, notice: int) -> None:
        """Hear one."""
        self.begun.append(notice)
        await self.gate.wait()
        self.heard.append(notice)


async def test_all_are_told_and_nothing_is_left() -> None:
    """No task waits for more to come."""
    listener = Listener()
    listener.gate.set()
    notices = Notices(listener.tell)

    for number in range(20):
        notices.put(number)
    await notices.finish(5)

    assert listener.heard == list(range(20))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_only_a_few_are_under_way_at_once() -> None:
    """The operator's database is not asked ten thousand times at once."""
    listener = Listener()
    notices = Notices(listener.tell, at_once=3)

    for number in range(10):
        notices.put(number)
    await settle()

    assert listener.begun == [0, 1, 2]
    listener.gate.set()
    await notices.finish(5)
    assert sorted(listener.heard) == list(range(10))


async def test_more_than_the_limit_are_dropped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line in the log says so, not ten thousand."""
    listener = Listener()
    notices = Notices(listener.tell, limit=5, at_once=1)

    notices.put(0)
    await settle()
    for number in range(1, 10):
        notices.put(number)

    assert notices.dropped == 4
    assert len(caplog.records) == 1
    listener.gate.set()
    await notices.finish(5)
    assert listener.heard == [0, 1, 2, 3, 4, 5]


async def test_waiting_for_them_has_an_end() -> None:
    """A hook that hangs does not keep the process alive."""
    listener = Listener()
    notices = Notices(listener.tell, at_once=1)
    notices.put(0)
    notices.put(1)

    await notices.finish(0.01)
    notices.close()
    await settle()

    assert listener.begun == [0]
    assert asyncio.all_tasks() == {asyncio.current_task()}
