"""One writer at a time, and two queues."""

from __future__ import annotations

import asyncio

import pytest

from auth_service.store.turns import Turns


class Line:
    """People who take their turns, and the order in which they had them."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.had: list[str] = []
        self.inside = 0

    def join(self, name: str, *, brief: bool) -> asyncio.Task[None]:
        """Wait for a turn."""
        return asyncio.create_task(self._join(name, brief=brief))

    async def _join(self, name: str, *, brief: bool) -> None:
        async with self.turns.take(brief=brief):
            self.inside += 1
            assert self.inside == 1
            self.had.append(name)
            await asyncio.sleep(0)
            self.inside -= 1


async def test_both_queues_are_served_in_turn() -> None:
    """Neither waits for all of the other."""
    line = Line()
    async with line.turns.take(brief=False):
        waiting = [line.join(f"long {number}", brief=False) for number in range(3)]
        waiting += [line.join(f"brief {number}", brief=True) for number in range(2)]
        await asyncio.sleep(0)
        assert line.had == []
    await asyncio.gather(*waiting)

    assert line.had == ["brief 0", "long 0", "brief 1", "long 1", "long 2"]


@pytest.mark.parametrize("when", ["while it waits", "when its turn has come"])
async def test_who_goes_away_keeps_nobody_waiting(when: str) -> None:
    """Its turn is the next one's."""
    line = Line()
    async with line.turns.take(brief=True):
        gone = line.join("gone", brief=False)
        staying = line.join("staying", brief=False)
        await asyncio.sleep(0)
        if when == "while it waits":
            gone.cancel()
            await asyncio.sleep(0)
    gone.cancel()

    async with asyncio.timeout(30):
        await staying
    assert line.had == ["staying"]
    async with line.turns.take(brief=True, seconds=0):
        line.had.append("free")


async def test_a_wait_may_be_too_long() -> None:
    """And nobody has the turn by mistake."""
    turns = Turns()
    async with turns.take(brief=True):
        with pytest.raises(TimeoutError):
            async with turns.take(brief=False, seconds=0.01):
                raise AssertionError

    async with turns.take(brief=False, seconds=0):
        assert turns._taken
    assert not turns._taken
