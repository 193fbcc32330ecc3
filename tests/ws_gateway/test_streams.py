"""Where a process is in its streams: joining, gaps, and looking now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw
from typing_extensions import override

from tests.ws_gateway.reader import CHANNEL, TERMS, Process, Reader, check
from ws_gateway.broker.base import (
    POSITION_ONLY,
    History,
    HistoryFilter,
    Link,
    Position,
)
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.exceptions import BrokerUnavailable, Disconnect
from ws_gateway.protocol.messages import Publication, SubscribeRequest


class LossyBroker(MemoryBroker):
    """Loses what it is told to, and reads slowly or not at all.

    Attributes:
        deaf: Publications are kept, but not delivered.
        away: Reading fails.
        gate: Reading waits for it.
        reads: What was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deaf = False
        self.away = False
        self.gate: asyncio.Event | None = None
        self.reads: list[HistoryFilter] = []

    @override
    async def history(
        self,
        channel: str,
        wanted: HistoryFilter = POSITION_ONLY,
        *,
        meta_ttl: float = 0,
        seen: Position | None = None,
    ) -> History:
        self.reads.append(wanted)
        if self.away:
            raise BrokerUnavailable
        found = await super().history(channel, wanted, meta_ttl=meta_ttl, seen=seen)
        if self.gate is not None:
            await self.gate.wait()
        return found


class LossyProcess(Process):
    """A process whose broker loses publications."""

    broker: LossyBroker

    @override
    def receive(
        self, channel: str, publication: Publication, link: Link | None, _at: float = 0
    ) -> None:
        if not self.broker.deaf:
            super().receive(channel, publication, link, _at)


@pytest.fixture
async def process() -> AsyncIterator[LossyProcess]:
    """A process; its silent channels are looked at every 50 milliseconds."""
    process = LossyProcess(LossyBroker(), check_seconds=0.05)
    await process.start()
    yield process
    for reader in process.readers:
        reader.leave()
    await asyncio.sleep(0)
    assert not len(process.streams)
    assert not process.hub._ahead
    assert not process.streams._behind
    assert process.streams.slot is None
    await process.stop()


async def read(reader: Reader, *numbers: int) -> None:
    """Wait until a reader has read these, and nothing else."""
    async with asyncio.timeout(5):
        while len(reader.read) < len(numbers):  # noqa: ASYNC110 - what is awaited is another's work
            await asyncio.sleep(0.001)
    assert [number for _, _, number in reader.read] == list(numbers)


class TestJoining:
    """No publication before the reply, none lost between history and going live."""

    async def test_crowd_reads_history_once(self, process: LossyProcess) -> None:
        """Where the process is, is where a new subscriber may begin."""
        first = await process.reader()
        await process.publish(1)

        others = [await process.reader() for _ in range(100)]
        await process.publish(2)

        assert process.broker.reads == [POSITION_ONLY]
        await read(first, 1, 2)
        for reader in others:
            await read(reader, 2)

    async def test_one_that_left_resumes_without_reading_if_nothing_was_missed(
        self, process: LossyProcess
    ) -> None:
        """A gateway's worth of clients that come back in one moment."""
        await process.reader()
        reader = await process.reader()
        await process.publish(1)
        reader.leave()

        await reader.subscribe()

        assert len(process.broker.reads) == 1
        assert reader.told == 0

    async def test_what_comes_while_history_is_read_is_not_lost(
        self, process: LossyProcess
    ) -> None:
        """It is in the reply, once."""
        reader = await process.reader()
        await process.publish(1)
        reader.leave()
        await process.publish(2)
        process.broker.gate = asyncio.Event()

        subscribing = asyncio.create_task(reader.subscribe())
        await asyncio.sleep(0)
        await process.publish(3)
        process.broker.gate.set()
        await subscribing
        await process.publish(4)

        await read(reader, 1, 2, 3, 4)
        assert reader.told == 0

    async def test_last_one_leaving_spoils_what_another_reads(self, process: LossyProcess) -> None:
        """The broker was unsubscribed meanwhile: what came then was not kept."""
        reader, other = await process.reader(), Reader(process)
        await process.publish(1)
        other.epoch, other.offset = reader.epoch, 0
        process.broker.gate = asyncio.Event()
        subscribing = asyncio.create_task(other.subscribe())
        await asyncio.sleep(0)

        reader.leave()
        await process.publish(2)
        process.broker.gate.set()
        await subscribing

        await read(other, 1, 2)
        process.readers.add(other)

    async def test_too_much_meanwhile_begins_again(self, process: LossyProcess) -> None:
        """What is kept for one that reads slowly is bounded."""
        await process.reader()
        process.broker.gate = asyncio.Event()
        joining = process.streams.join(CHANNEL, TERMS, SubscribeRequest(recover=True), 0)
        for number in range(1001):
            await process.publish(number)

        intact = joining.intact
        joining.abandon()

        assert not intact
        with pytest.raises(Disconnect):
            joining.finish(Reader(process))

    async def test_one_that_knows_more_is_not_told_twice(self, process: LossyProcess) -> None:
        """What is on its way to the others is in its reply."""
        slow = await process.reader()
        process.broker.deaf = True
        await process.publish(1)
        await process.publish(2)
        process.broker.deaf = False
        fast = Reader(process)
        fast.epoch, fast.offset = slow.epoch, 0
        process.readers.add(fast)
        epoch = slow.epoch

        process.streams._streams[CHANNEL].anchored = False  # so that it reads
        await fast.subscribe()
        process.streams._streams[CHANNEL].anchored = True
        for offset in (1, 2, 3):
            late = Publication(data=Raw(b"%d" % offset), offset=offset)
            process.receive(CHANNEL, late, Link(epoch, 0, 0))

        await read(fast, 1, 2, 3)
        await read(slow, 1, 2, 3)
        await process.publish(3)  # the stream's own third


class TestGaps:
    """Promises 1 and 5: filled from history, or told."""

    async def test_gap_is_filled_before_what_is_new(self, process: LossyProcess) -> None:
        """Nobody has to do anything."""
        readers = [await process.reader() for _ in range(2)]
        await process.publish(1)
        process.broker.deaf = True
        for number in range(2, 700):
            await process.publish(number)
        process.broker.deaf = False

        await process.publish(700)
        await process.publish(701)

        for reader in readers:
            await read(reader, *range(1, 702))
            assert reader.told == 0
        assert process.streams.losses == 0
        assert process.streams.filled >= 698

    async def test_broker_says_so(self, process: LossyProcess) -> None:
        """After its connection was lost, without a new publication."""
        reader = await process.reader()
        process.broker.deaf = True
        await process.publish(1)
        process.broker.deaf = False

        process.streams.missed(CHANNEL)

        await read(reader, 1)

    async def test_history_that_cannot_be_read_is_read_later(self, process: LossyProcess) -> None:
        """Nothing new is delivered before."""
        reader = await process.reader()
        process.broker.deaf = True
        await process.publish(1)
        process.broker.deaf, process.broker.away = False, True
        process.streams.missed(CHANNEL)
        await process.publish(2)
        await asyncio.sleep(0.15)
        early = list(reader.read)

        process.broker.away = False

        assert early == []
        await read(reader, 1, 2)

    async def test_silent_channel_is_looked_at(self, process: LossyProcess) -> None:
        """Every so often; what passed by unnoticed is filled."""
        reader = await process.reader()
        process.broker.deaf = True
        await process.publish(1)

        await read(reader, 1)

    async def test_gap_that_is_forgotten_is_told(self, process: LossyProcess) -> None:
        """Every subscriber of the channel: it comes back, and is not resumed."""
        reader = await process.reader()
        await process.publish(1)
        process.broker.deaf = True
        for number in range(2, 10):
            await process.publish(number, size=3)
        process.broker.deaf = False

        await process.publish(10, size=3)
        async with asyncio.timeout(5):
            while reader.subscribed:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await reader.subscribe()

        assert reader.told == 1
        assert process.streams.losses == 1

    async def test_new_epoch_is_told(self, process: LossyProcess) -> None:
        """Its offsets say nothing about what is missing."""
        reader = await process.reader()
        await process.publish(1)

        publication = Publication(data=Raw(b"2"), offset=2)
        process.receive(CHANNEL, publication, Link("another", 0, 0))

        assert not reader.subscribed
        await read(reader, 1)

    async def test_lower_top_is_told_by_the_look(self, process: LossyProcess) -> None:
        """The stream lost its tail, or all of it."""
        reader = await process.reader()
        await process.publish(1)

        process.broker._streams.clear()
        async with asyncio.timeout(5):
            while reader.subscribed:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

        assert process.streams.losses == 1

    async def test_what_comes_twice_is_dropped(self, process: LossyProcess) -> None:
        """Late, after the gap was filled from history."""
        reader = await process.reader()
        await process.publish(1)

        late = Publication(data=Raw(b"1"), offset=1)
        process.receive(CHANNEL, late, Link(reader.epoch, 0, 0))

        await read(reader, 1)
        assert reader.subscribed

    async def test_broker_that_contradicts_itself_is_told(self, process: LossyProcess) -> None:
        """What it delivers does not join, and its history does not have what is between."""
        reader = await process.reader()

        far = Publication(data=Raw(b"9"), offset=9)
        process.receive(CHANNEL, far, Link(reader.epoch, 0, 0))
        async with asyncio.timeout(5):
            while reader.subscribed:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

        assert process.streams.losses == 1

    async def test_what_is_held_is_bounded(self, process: LossyProcess) -> None:
        """Past it, history is read once more."""
        reader = await process.reader()
        process.broker.gate = asyncio.Event()
        process.streams.missed(CHANNEL)
        await asyncio.sleep(0)
        for number in range(1500):
            await process.publish(number)
        held = process.streams._streams[CHANNEL].held

        assert held is not None
        assert len(held) <= 1000
        process.broker.gate.set()
        await read(reader, *range(1500))

    async def test_first_publication_carries_the_epoch(self, process: LossyProcess) -> None:
        """Protocol section 8.4."""
        received: list[Publication] = []

        def receive(_channel: str, publication: Publication, _previous: Raw) -> None:
            received.append(publication)

        process.streams._deliver = receive
        reader = await process.reader()

        await process.publish(1)
        await process.publish(2)

        assert [publication.epoch for publication in received] == [reader.epoch, ""]


class TestRecord:
    """Promise 1, whatever happens in whatever order."""

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("publish"), st.integers(1, 5)),
                st.tuples(st.sampled_from(["deaf", "away", "missed", "wait"]), st.just(0)),
                st.tuples(st.sampled_from(["come", "go"]), st.integers(0, 2)),
            ),
            max_size=40,
        ),
        st.sampled_from([3, 100]),
    )
    def test_every_reader_reads_everything_in_order_or_is_told(
        self, steps: list[tuple[str, int]], size: int
    ) -> None:
        """Losses, reads that fail, readers that come and go, a history that is too short."""
        asyncio.run(self.live(steps, size))

    @staticmethod
    async def live(steps: list[tuple[str, int]], size: int) -> None:
        """Do the steps, let all come to rest, and hold every record to the promise."""
        process = LossyProcess(LossyBroker(), check_seconds=60)
        broker = process.broker
        await process.start()
        readers = [await process.reader() for _ in range(3)]
        number = 0
        for step, count in steps:
            match step:
                case "publish":
                    for _ in range(count):
                        number += 1
                        await process.publish(number, size)
                case "deaf":
                    broker.deaf = not broker.deaf
                case "away":
                    broker.away = not broker.away
                case "missed":
                    process.streams.missed(CHANNEL)
                case "go":
                    readers[count].leave()
                case "come" if not readers[count].subscribed and not broker.away:
                    await readers[count].subscribe()
            await asyncio.sleep(0)
        broker.deaf = broker.away = False
        for reader in readers:
            await reader.persist()
        process.streams.missed(CHANNEL)
        async with asyncio.timeout(5):
            while process.streams._behind:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        for reader in readers:
            await reader.persist()
            check(reader, list(range(1, number + 1)))
            reader.leave()
        await process.stop()
        assert not len(process.streams)
