"""3001 to everybody, at an even pace that the clock keeps (design section 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ws_gateway import drain as module
from ws_gateway.codes import DisconnectCode
from ws_gateway.drain import LEAST_PER_SECOND, PATIENCE_SECONDS, STEP_SECONDS, drain


class Hour:
    """A clock that goes on during the pauses only, and notes who leaves when."""

    def __init__(self) -> None:
        self.now = 100.0
        self.step = 0.0
        self.ends: list[tuple[float, str, int]] = []
        self.during: Callable[[], object] = lambda: None

    def time(self) -> float:
        """Tell the time."""
        return self.now

    async def pause(self, seconds: float, _hurry: asyncio.Event | None) -> None:
        """See ``drain._pause``; a machine with much to do comes back later."""
        self.now += max(seconds, self.step)
        self.during()

    def crowd(self, count: int) -> list[Guest]:
        """Let many in."""
        return [Guest(self, str(number)) for number in range(count)]

    async def drain(
        self, guests: list[Guest], seconds: float, hurry: asyncio.Event | None = None
    ) -> None:
        """Ask them to leave."""
        await drain(guests, seconds=seconds, clock=self.time, hurry=hurry)

    @property
    def moments(self) -> list[float]:
        """When each was told, counted from the start."""
        return [when - 100 for when, _, _ in self.ends]


class Guest:
    """A connection that notes its end."""

    def __init__(self, hour: Hour, name: str) -> None:
        self.hour = hour
        self.name = name
        self.closed = False
        self.busy = False
        self.fault: Exception | None = None

    def disconnect(self, code: DisconnectCode, detail: str = "") -> None:
        """See Leaving."""
        assert not detail
        if self.fault is not None:
            raise self.fault
        self.hour.ends.append((self.hour.now, self.name, int(code)))
        self.closed = True


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> Hour:
    """Pauses that take no time."""
    hour = Hour()
    monkeypatch.setattr(module, "_pause", hour.pause)
    return hour


async def test_the_pace_is_even_and_ends_in_time(hour: Hour) -> None:
    """No second sees more than its share, and the last goes when the time is over."""
    await hour.drain(hour.crowd(1000), 10)

    assert {code for _, _, code in hour.ends} == {3001}
    assert len({name for _, name, _ in hour.ends}) == len(hour.ends) == 1000
    for second in range(10):
        told = sum(second <= moment < second + 1 for moment in hour.moments)
        assert told == pytest.approx(100, abs=6)
    assert 9.9 <= hour.moments[-1] <= 10 + STEP_SECONDS


async def test_one_more_than_a_round_number_is_no_faster(hour: Hour) -> None:
    """Whole batches would be gone in half of the time, at twice the pace."""
    await hour.drain(hour.crowd(20 * LEAST_PER_SECOND + 1), 20)

    assert hour.moments[-1] > 19


async def test_neighbours_do_not_leave_together(hour: Hour) -> None:
    """Those who came together tend to share channels."""
    guests = hour.crowd(100)

    await hour.drain(guests, 10)

    assert [name for _, name, _ in hour.ends] != [guest.name for guest in guests]


async def test_a_few_do_not_take_the_whole_time(hour: Hour) -> None:
    """Nobody notices such a pace."""
    await hour.drain(hour.crowd(10), 3600)

    assert 0.4 <= hour.moments[-1] <= 10 / LEAST_PER_SECOND + STEP_SECONDS


async def test_a_machine_that_lags_catches_up(hour: Hour) -> None:
    """Who is late is killed."""
    hour.step = 3.0

    await hour.drain(hour.crowd(1000), 10)

    assert len(hour.ends) == 1000
    assert hour.moments[-1] <= 12


async def test_no_time_is_all_at_once(hour: Hour) -> None:
    """And nobody is waited for."""
    guests = hour.crowd(5)
    guests[0].busy = True

    await hour.drain(guests, 0)

    assert hour.moments == [0] * 5


async def test_nobody_takes_no_time(hour: Hour) -> None:
    """Whatever was given."""
    await hour.drain([], 30)

    assert hour.now == 100


async def test_one_that_performs_a_command_may_end_it(hour: Hour) -> None:
    """Otherwise a client would not know whether it has published."""
    (guest,) = hour.crowd(1)
    guest.busy = True

    def answer() -> None:
        guest.busy = hour.now < 100.4

    hour.during = answer

    await hour.drain([guest], 1)

    assert hour.moments == [pytest.approx(0.4, abs=2 * STEP_SECONDS)]


async def test_one_that_does_not_end_its_command_is_not_waited_for_any_longer(hour: Hour) -> None:
    """It may be a hook that hangs."""
    guests = hour.crowd(2)
    guests[0].busy = True

    await hour.drain(guests, 0.1)

    assert hour.ends[-1][1] == guests[0].name
    assert hour.moments[-1] == pytest.approx(PATIENCE_SECONDS, abs=0.1 + 2 * STEP_SECONDS)


async def test_one_that_has_gone_meanwhile_is_not_waited_for(hour: Hour) -> None:
    """Its command is cancelled in the next turn of the loop."""
    (guest,) = hour.crowd(1)
    guest.busy = guest.closed = True

    await hour.drain([guest], 1)

    assert hour.now == 100


@pytest.mark.parametrize("busy", [False, True])
async def test_hurry_sends_the_rest_at_once(hour: Hour, *, busy: bool) -> None:
    """A second SIGTERM."""
    guests = hour.crowd(50)
    for guest in guests:
        guest.busy = busy
    hurry = asyncio.Event()
    hour.during = hurry.set

    await hour.drain(guests, 30, hurry)

    assert len(hour.ends) == 50
    assert hour.moments[-1] == pytest.approx(STEP_SECONDS)


async def test_one_that_cannot_be_told_keeps_nobody(
    hour: Hour, caplog: pytest.LogCaptureFixture
) -> None:
    """All others get their code."""
    guests = hour.crowd(3)
    guests[1].fault = RuntimeError("a bug")

    await hour.drain(guests, 0)

    assert sorted(name for _, name, _ in hour.ends) == ["0", "2"]
    assert [record.message for record in caplog.records] == ["connection not closed"]


async def test_a_pause_without_hurry_is_a_sleep() -> None:
    """Who drains by program has no signals."""
    hour = Hour()
    guests = hour.crowd(2)

    await drain(guests, seconds=60, clock=asyncio.get_running_loop().time)

    assert len(hour.ends) == 2
