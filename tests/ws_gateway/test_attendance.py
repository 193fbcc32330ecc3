"""Who comes and who goes: in order, together, after presence, and never too much at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from typing_extensions import override

from tests.ws_gateway.conftest import settle
from ws_gateway.attendance import Attendance
from ws_gateway.broker.base import Change
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.presence.memory import MemoryPresence
from ws_gateway.protocol.messages import ClientInfo, Join, Leave

BOTH: dict[str, Any] = {"present": True, "announced": True}


class Line(MemoryBroker):
    """A broker that notes what it is told, and can be held up or away."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log
        self.gate: asyncio.Event | None = None
        self.away = False

    @override
    async def announce(self, channel: str, changes: Sequence[Change]) -> None:
        if self.away:
            raise BrokerUnavailable
        self.log.append((channel, list(changes)))
        if self.gate is not None:
            await self.gate.wait()


class Books(MemoryPresence):
    """A presence that notes when it hands over."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    @override
    def hand_over(self, channel: str) -> None:
        self.log.append(channel)


def info(number: int) -> ClientInfo:
    """Return what is shown of somebody."""
    return ClientInfo(user=f"u-{number}", client=f"c-{number}")


@pytest.fixture
def log() -> list[Any]:
    """What presence (a name) and the broker (a name and changes) were told, in order."""
    return []


@pytest.fixture
def line(log: list[Any]) -> Line:
    """The way to the others."""
    return Line(log)


@pytest.fixture
def books(log: list[Any]) -> Books:
    """Who is there."""
    return Books(log)


@pytest.fixture
async def attendance(line: Line, books: Books) -> Attendance:
    """What is tested."""
    return Attendance(presence=books, broker=line, loop=asyncio.get_running_loop())


class TestOrder:
    """Presence first, then the others; each in the order in which it happened."""

    async def test_presence_is_handed_over_before_anybody_is_told(
        self, attendance: Attendance, log: list[Any]
    ) -> None:
        """So that who is told finds in presence what he is told."""
        attendance.enter("room", info(1), **BOTH)
        await settle()

        assert log == ["room", ("room", [Join(info=info(1))])]

    async def test_nobody_is_told_before_the_next_turn(
        self, attendance: Attendance, log: list[Any], books: Books
    ) -> None:
        """The reply goes out first; presence knows at once."""
        attendance.enter("room", info(1), **BOTH)

        assert log == []
        assert len(books) == 1

    async def test_what_happens_in_one_turn_is_told_together(
        self, attendance: Attendance, log: list[Any]
    ) -> None:
        """By channel, in order."""
        attendance.enter("room", info(1), **BOTH)
        attendance.enter("lobby", info(1), **BOTH)
        attendance.enter("room", info(2), **BOTH)
        attendance.leave("room", "c-1")
        await settle()

        assert log[2:] == [
            ("room", [Join(info=info(1)), Join(info=info(2)), Leave(info=info(1))]),
            ("lobby", [Join(info=info(1))]),
        ]

    async def test_no_more_than_a_batch_is_on_its_way(
        self, attendance: Attendance, log: list[Any], line: Line
    ) -> None:
        """Ten thousand leave: the others' publications are not behind them all."""
        for number in range(1000):
            attendance.enter("room", info(number), **BOTH)
        await attendance.finish(5)
        log.clear()
        line.gate = asyncio.Event()
        for number in range(1000):
            attendance.leave("room", f"c-{number}")
        await settle()

        assert [len(entry[1]) for entry in log if entry != "room"] == [200]
        line.gate.set()
        await attendance.finish(5)
        told = [change for entry in log if entry != "room" for change in entry[1]]
        assert told == [Leave(info=info(number)) for number in range(1000)]


class TestWho:
    """What the namespace says decides what is told."""

    async def test_present_without_announcement(
        self, attendance: Attendance, log: list[Any], books: Books
    ) -> None:
        """A namespace with presence but without join_leave."""
        attendance.enter("room", info(1), present=True, announced=False)
        assert len(books) == 1
        attendance.leave("room", "c-1")
        await settle()

        assert len(books) == 0
        assert log == []

    async def test_announced_without_presence(
        self, attendance: Attendance, log: list[Any], books: Books
    ) -> None:
        """And one with join_leave but without presence."""
        attendance.enter("room", info(1), present=False, announced=True)
        attendance.leave("room", "c-1")
        await settle()

        assert len(books) == 0
        assert log == ["room", ("room", [Join(info=info(1)), Leave(info=info(1))])]

    async def test_leaving_twice_is_told_once(self, attendance: Attendance, log: list[Any]) -> None:
        """Nor is anybody told of one who was never there; nothing is kept of them."""
        attendance.enter("room", info(1), **BOTH)
        for client in ("c-1", "c-1", "c-2"):
            attendance.leave("room", client)
        attendance.leave("elsewhere", "c-1")
        await settle()

        assert log[1:] == [("room", [Join(info=info(1)), Leave(info=info(1))])]
        assert not attendance._announced


class TestAway:
    """Joins and leaves are for who is looking: what cannot be told is counted and forgotten."""

    async def test_dropped_while_the_broker_is_away(
        self, attendance: Attendance, log: list[Any], line: Line, books: Books
    ) -> None:
        """The books are right all the same, and what comes afterwards is told."""
        line.away = True
        attendance.enter("room", info(1), **BOTH)
        attendance.enter("room", info(2), **BOTH)
        await settle()
        assert attendance.dropped == 2
        assert len(books) == 2

        line.away = False
        attendance.leave("room", "c-1")
        await settle()

        assert log[-1] == ("room", [Leave(info=info(1))])
        assert attendance.dropped == 2

    async def test_what_waits_is_bounded(
        self, attendance: Attendance, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No queue grows without bound."""
        monkeypatch.setattr("ws_gateway.attendance._MAX_WAITING", 10)
        line.gate = asyncio.Event()
        for number in range(15):
            attendance.enter("room", info(number), **BOTH)

        assert len(attendance._waiting) == 10
        assert attendance.dropped == 5
        line.gate.set()
        await settle()

    async def test_finish_waits_for_what_is_on_its_way(
        self, attendance: Attendance, log: list[Any]
    ) -> None:
        """A process that ends has told who left with it."""
        attendance.enter("room", info(1), **BOTH)

        await attendance.finish(5)

        assert log == ["room", ("room", [Join(info=info(1))])]
        await attendance.finish(5)

    async def test_finish_gives_up_in_time(self, attendance: Attendance, line: Line) -> None:
        """And leaves no task behind."""
        line.gate = asyncio.Event()
        for number in range(500):
            attendance.enter("room", info(number), **BOTH)

        await attendance.finish(0.01)
        await settle()

        assert not attendance._waiting
        assert attendance._telling is None
        assert asyncio.all_tasks() == {asyncio.current_task()}
