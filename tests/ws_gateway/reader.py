"""A process that delivers streams, and readers that behave as the official SDKs do."""

from __future__ import annotations

import asyncio
import json

from msgspec import Raw

from ws_gateway.broker.base import Broker, Link, PublishOptions
from ws_gateway.exceptions import BrokerUnavailable, Disconnect
from ws_gateway.frames import split
from ws_gateway.hub import Hub
from ws_gateway.protocol.codec import JSON, Codec
from ws_gateway.protocol.messages import Publication, SubscribeRequest
from ws_gateway.recovery import Terms
from ws_gateway.streams import StreamLimits, Streams
from ws_gateway.timers import TimerWheel

TERMS = Terms(recoverable=True, cache=False, auto=False)
CHANNEL = "news"


class Reader:
    """One subscription: what it has read, and where it would go on.

    Attributes:
        read: Offset and number of each publication, in the order in which they came.
        told: How often it was told that it missed something.
        subscribed: Whether it is now.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.offset = 0
        self.epoch = ""
        self.read: list[tuple[str, int, int]] = []
        self.told = 0
        self.subscribed = False

    @property
    def codec(self) -> Codec:
        """See Subscriber."""
        return JSON

    def send(self, frame: bytes) -> None:
        """See Subscriber."""
        for _, payload in split(frame):
            self._take(json.loads(payload)["push"]["pub"])

    def refuse(self, end: Disconnect) -> None:
        """See Subscriber."""
        raise AssertionError(end)

    async def subscribe(self) -> None:
        """Subscribe, and go on where it broke off."""
        process = self.process
        recover = bool(self.epoch)
        request = SubscribeRequest(recover=recover, offset=self.offset, epoch=self.epoch)
        while True:
            await process.broker.subscribe(CHANNEL)
            joining = process.streams.join(CHANNEL, TERMS, request, 0)
            try:
                await joining.read()
                if not joining.intact or not process.broker.subscribed(CHANNEL):
                    continue
                result = joining.finish(self)
                break
            finally:
                joining.abandon()
                if CHANNEL not in process.hub:
                    process.give_up()
        if recover and not result.recovered:
            self.told += 1
        self.offset, self.epoch = result.offset, result.epoch
        for publication in result.publications:
            self._take({"offset": publication.offset, "data": json.loads(bytes(publication.data))})
        self.subscribed = True

    async def persist(self) -> None:
        """Subscribe as soon as that can be."""
        while not self.subscribed:
            try:
                await self.subscribe()
            except (BrokerUnavailable, Disconnect):
                await asyncio.sleep(0.01)

    def leave(self) -> None:
        """Break off."""
        if self.subscribed:
            self.subscribed = False
            if self.process.hub.remove(CHANNEL, self):
                self.process.give_up()

    def _take(self, publication: dict[str, int]) -> None:
        self.offset = publication["offset"]
        self.read.append((self.epoch, self.offset, publication["data"]))


class Process:
    """A broker with a hub and streams, as a node puts them together."""

    def __init__(self, broker: Broker, **limits: float) -> None:
        self.broker = broker
        self.hub = Hub()
        self.timers = TimerWheel(asyncio.get_running_loop(), resolution=0.01)
        self.readers: set[Reader] = set()
        self.streams = Streams(
            broker=broker,
            hub=self.hub,
            deliver=self.deliver,
            lost=self._lost,
            loop=asyncio.get_running_loop(),
            timers=self.timers,
            limits=StreamLimits(**limits),  # type: ignore[arg-type]
        )

    async def start(self) -> None:
        """Begin."""
        await self.broker.start(self.receive, self.streams.missed)

    async def stop(self) -> None:
        """End."""
        self.streams.close()
        await self.broker.stop()
        self.timers.close()

    def receive(
        self, channel: str, publication: Publication, link: Link | None, _at: float = 0
    ) -> None:
        """Be the broker's handler."""
        self.streams.receive(channel, publication, link)

    def give_up(self) -> None:
        """Do what a node does after the last subscriber."""
        self.streams.drop(CHANNEL)
        self.broker.unsubscribe(CHANNEL)

    async def reader(self) -> Reader:
        """Make a reader that is subscribed."""
        reader = Reader(self)
        self.readers.add(reader)
        await reader.persist()
        return reader

    async def publish(self, number: int, size: int = 10_000) -> bool:
        """Publish into the stream; whether that was acknowledged."""
        options = PublishOptions(
            history_size=size, history_ttl=60, seen=self.streams.position(CHANNEL)
        )
        try:
            await self.broker.publish(CHANNEL, Publication(data=Raw(b"%d" % number)), options)
        except BrokerUnavailable:
            return False
        return True

    def deliver(self, channel: str, publication: Publication, previous: Raw) -> None:
        """Hand a publication to all readers."""
        self.hub.broadcast(channel, publication, previous)

    def _lost(self, channel: str) -> None:
        for reader in self.hub.subscribers(channel):
            if isinstance(reader, Reader) and reader.subscribed:
                reader.leave()


def check(reader: Reader, acknowledged: list[int]) -> None:
    """Hold a reader's record to promise 1: everything in order, once, or told of it."""
    for (epoch, offset, _), (next_epoch, next_offset, _) in zip(
        reader.read, reader.read[1:], strict=False
    ):
        if epoch == next_epoch:
            assert next_offset > offset if reader.told else next_offset == offset + 1
    numbers = [number for _, _, number in reader.read]
    assert len(set(numbers)) == len(numbers)
    if not reader.told:
        assert set(acknowledged) <= set(numbers)
