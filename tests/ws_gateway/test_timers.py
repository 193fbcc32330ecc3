"""The wheel: never early, at most one slot late, and no entry in another's way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import floor

import pytest
from hypothesis import given, strategies as st

from tests.ws_gateway.conftest import FakeLoop
from ws_gateway.timers import TimerWheel

RESOLUTION = 0.1


class Entry:
    """Notes when it is called."""

    def __init__(self, loop: FakeLoop, then: Callable[[], object] | None = None) -> None:
        self.slot: int | None = None
        self.calls: list[float] = []
        self._loop = loop
        self._then = then

    def tick(self, now: float) -> None:
        """See Timed."""
        assert now == self._loop.now
        self.calls.append(now)
        if self._then is not None:
            self._then()


@pytest.fixture
def wheel(fake_loop: FakeLoop) -> TimerWheel:
    """A wheel on a clock that stands still."""
    return TimerWheel(fake_loop.loop, RESOLUTION)


class TestTime:
    """Coarse slots."""

    @given(
        st.lists(st.floats(0.001, 200, allow_subnormal=False), min_size=1, max_size=30),
        st.floats(0, 1e6),
        st.sampled_from([0.1, 0.25, 1.0]),
    )
    def test_never_early_and_at_most_one_slot_late(
        self, delays: list[float], start: float, resolution: float
    ) -> None:
        """Whatever the moment, and however many at once."""
        loop = FakeLoop()
        loop.now = start
        wheel = TimerWheel(loop.loop, resolution)
        entries = [(start + delay, Entry(loop)) for delay in delays]
        for when, entry in entries:
            wheel.schedule(entry, when)

        loop.advance(201 + resolution)

        for when, entry in entries:
            (called,) = entry.calls
            assert when <= called <= when + resolution * 1.001
        assert len(wheel) == 0
        assert loop.alarms == []

    def test_what_is_due_already_comes_at_once(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """A clock that stood still for long, such as a suspended machine's."""
        entry = Entry(fake_loop)
        wheel.schedule(entry, fake_loop.now - 50)

        fake_loop.advance(0)

        assert entry.calls == [1000.0]

    def test_late_loop_calls_all_that_is_due_in_order(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """Slots that were missed are not lost."""
        order: list[int] = []
        for number in (2, 0, 1):
            entry = Entry(fake_loop, lambda number=number: order.append(number))  # type: ignore[misc]
            wheel.schedule(entry, fake_loop.now + 1 + number)
        fake_loop.now += 10

        fake_loop.advance(0)

        assert order == [0, 1, 2]

    def test_alarm_that_rings_too_early_is_set_again(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """Loops round a timer to their clock's resolution."""
        entry = Entry(fake_loop)
        wheel.schedule(entry, 1001.0)
        (alarm,) = fake_loop.alarms
        fake_loop.alarms.clear()

        alarm.callback()
        assert entry.calls == []
        fake_loop.advance(2)

        assert len(entry.calls) == 1


class TestAlarm:
    """One timer of the loop for all of them."""

    def test_many_entries_share_one(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """A ``call_later`` for each costs a kilobyte."""
        for number in range(1000):
            wheel.schedule(Entry(fake_loop), 1001 + number / 100)

        assert len(wheel) == 1000
        assert len(fake_loop.alarms) == 1

    def test_earlier_slot_that_is_scheduled_later_rings_first(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """The alarm moves forward, and the later slot keeps its turn."""
        late, early = Entry(fake_loop), Entry(fake_loop)
        wheel.schedule(late, 1060)

        wheel.schedule(early, 1005)

        (alarm,) = fake_loop.alarms
        assert 1005 <= alarm.when <= 1005 + RESOLUTION * 1.001
        fake_loop.advance(100)
        assert [floor(entry.calls[0]) for entry in (early, late)] == [1005, 1060]

    def test_later_slot_does_not_move_it(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """Nothing is cancelled and set again for it."""
        wheel.schedule(Entry(fake_loop), 1005)
        alarms = list(fake_loop.alarms)

        wheel.schedule(Entry(fake_loop), 1060)

        assert fake_loop.alarms == alarms

    def test_it_is_set_once_per_slot_that_rings(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """A wheel with nothing to do does not turn."""
        for number in range(10):
            wheel.schedule(Entry(fake_loop), 1001 + number)

        fake_loop.advance(3600)

        assert fake_loop.rung == 10
        assert fake_loop.alarms == []


class TestSchedule:
    """An entry has one appointment."""

    def test_new_appointment_replaces_the_old(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """Earlier or later."""
        entry = Entry(fake_loop)

        for when in (1010, 1002, 1005):
            wheel.schedule(entry, when)

        assert len(wheel) == 1
        fake_loop.advance(100)
        assert [floor(call) for call in entry.calls] == [1005]

    def test_same_slot_again_is_nothing(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """The common case: a connection asks again for what it has."""
        entry = Entry(fake_loop)
        wheel.schedule(entry, 1005)

        wheel.schedule(entry, 1005)

        fake_loop.advance(100)
        assert len(entry.calls) == 1

    def test_cancelled_entry_is_not_called(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """Twice is as good as once, and one that waits for nothing can be cancelled too."""
        entry, other = Entry(fake_loop), Entry(fake_loop)
        wheel.schedule(entry, 1005)
        wheel.schedule(other, 1005)

        wheel.cancel(entry)
        wheel.cancel(entry)

        fake_loop.advance(100)
        assert (entry.calls, entry.slot, len(other.calls)) == ([], None, 1)
        wheel.cancel(entry)

    def test_entry_can_be_scheduled_after_a_cancel(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """Into the slot it left as well."""
        entry = Entry(fake_loop)
        wheel.schedule(entry, 1005)
        wheel.cancel(entry)

        wheel.schedule(entry, 1005)

        fake_loop.advance(100)
        assert len(entry.calls) == 1

    def test_empty_slots_do_not_accumulate(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """Connections that come and go leave what is due soon, and nothing once it was."""
        for number in range(10_000):
            entry = Entry(fake_loop)
            wheel.schedule(entry, fake_loop.now + 10)
            wheel.cancel(entry)
            if number % 10 == 0:
                fake_loop.advance(0.1)
            assert len(wheel._slots) == len(wheel._order) <= 102

        fake_loop.advance(11)
        assert (len(wheel._slots), len(wheel._order), fake_loop.alarms) == (0, 0, [])


class TestTick:
    """What an entry may do when it is called."""

    def test_entry_may_schedule_itself_again(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """As every ping does."""
        entry = Entry(fake_loop, lambda: wheel.schedule(entry, fake_loop.now + 1))
        wheel.schedule(entry, 1001)

        fake_loop.advance(10.05)

        assert 9 <= len(entry.calls) <= 10
        assert len(wheel) == 1

    def test_entry_is_not_scheduled_while_it_is_called(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """Promise: "The entry is no longer scheduled"."""
        slots: list[int | None] = []
        entry = Entry(fake_loop, lambda: slots.append(entry.slot))
        wheel.schedule(entry, 1001)

        fake_loop.advance(2)

        assert slots == [None]

    def test_exception_stops_nobody_else(
        self, wheel: TimerWheel, fake_loop: FakeLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One connection's bug is logged; the clock of all the others goes on."""

        def fail() -> None:
            raise RuntimeError("bug")

        same = [Entry(fake_loop, fail), Entry(fake_loop), Entry(fake_loop, fail), Entry(fake_loop)]
        for entry in same:
            wheel.schedule(entry, 1001)
        later = Entry(fake_loop)
        wheel.schedule(later, 1002)

        fake_loop.advance(5)

        assert [len(entry.calls) for entry in (*same, later)] == [1] * 5
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2

    def test_entry_cancelled_by_another_of_its_slot_is_not_called(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """A cancelled entry belongs to something that has ended."""
        first = Entry(fake_loop, lambda: wheel.cancel(second))
        second = Entry(fake_loop, lambda: wheel.cancel(first))
        for entry in (first, second):
            wheel.schedule(entry, 1001)

        fake_loop.advance(5)

        assert len(first.calls) + len(second.calls) == 1
        assert len(wheel) == 0

    def test_entry_moved_by_another_of_its_slot_is_called_then(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """Once, at the new time: "never early"."""
        entries: list[Entry] = []

        def move_the_other() -> None:
            waiting = [entry for entry in entries if not entry.calls]
            for entry in waiting:
                wheel.schedule(entry, 1003)

        entries.extend(Entry(fake_loop, move_the_other) for _ in range(2))
        for entry in entries:
            wheel.schedule(entry, 1001)

        fake_loop.advance(5)

        assert sorted(floor(entry.calls[0]) for entry in entries) == [1001, 1003]
        assert [len(entry.calls) for entry in entries] == [1, 1]

    def test_entry_may_schedule_another_one_earlier_than_all(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """While the wheel is between two slots."""
        later, sooner = Entry(fake_loop), Entry(fake_loop)
        first = Entry(fake_loop, lambda: wheel.schedule(sooner, fake_loop.now + 1))
        wheel.schedule(first, 1001)
        wheel.schedule(later, 1010)

        fake_loop.advance(20)

        assert floor(sooner.calls[0]) == 1002
        assert floor(later.calls[0]) == 1010

    def test_entry_scheduled_into_the_past_is_called_now(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """Also into the very slot that is being called."""
        past = [Entry(fake_loop) for _ in range(3)]

        def schedule() -> None:
            for entry, when in zip(past, (900, 1000.95, fake_loop.now), strict=True):
                wheel.schedule(entry, when)

        wheel.schedule(Entry(fake_loop, schedule), 1001)

        fake_loop.advance(2)

        assert [len(entry.calls) for entry in past] == [1, 1, 1]
        assert len(wheel) == 0
        assert not wheel._order


class TestClose:
    """The end of the process."""

    def test_nobody_is_called_any_more(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """And the loop holds nothing of it."""
        entry = Entry(fake_loop)
        wheel.schedule(entry, 1001)

        wheel.close()

        fake_loop.advance(100)
        assert (entry.calls, fake_loop.alarms, len(wheel)) == ([], [], 0)

    def test_what_waited_can_still_be_cancelled(
        self, wheel: TimerWheel, fake_loop: FakeLoop
    ) -> None:
        """A socket may be lost after that."""
        entry = Entry(fake_loop)
        wheel.schedule(entry, 1001)

        wheel.close()

        wheel.cancel(entry)
        assert entry.slot is None

    def test_close_of_an_unused_wheel(self, wheel: TimerWheel, fake_loop: FakeLoop) -> None:
        """Nothing was set, nothing is cancelled."""
        wheel.close()
        assert fake_loop.alarms == []
