"""Where this process is in each stream it delivers, and what is done when it missed something.

One position for all subscribers of a channel: they are given the same publications, so what one
has missed all have. A subscriber that begins further on, with publications that are still on
their way to the others, is *ahead* in the hub until they have come.

A gap is filled from history before anything new is delivered. It shows as a publication that
does not join the one before, as a word from the broker that its connection was lost, or when the
position is compared with the stream's now and then. What cannot be filled, or belongs to another
epoch, is told to every subscriber that has a position.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import msgspec
from msgspec import Raw

from ws_gateway import recovery
from ws_gateway.broker.base import (
    POSITION_ONLY,
    Broker,
    History,
    HistoryFilter,
    Link,
    Position,
)
from ws_gateway.codes import DisconnectCode
from ws_gateway.delivery import BY_NAME, Delivery, write_past
from ws_gateway.exceptions import BrokerUnavailable, Disconnect
from ws_gateway.hub import Hub, Subscriber
from ws_gateway.protocol.messages import ABSENT, Publication, SubscribeRequest, SubscribeResult
from ws_gateway.recovery import Live, Terms
from ws_gateway.timers import TimerWheel

logger = logging.getLogger(__name__)

_BATCH = 256  # requests about streams that are on their way to the broker together
_CHUNK = 300
_MAX_HELD = 1000
_RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """The protocol's limits of streams.

    Attributes:
        recovery: How many publications a client may be resumed with.
        history: How many it is given at once when it asks for history.
        check_seconds: How often the position of a silent channel is compared.
    """

    recovery: int = 300
    history: int = 300
    check_seconds: float = 40


class _Stream:
    """One channel's.

    Attributes:
        meta_ttl: See PublishOptions.
        position: Of the last publication delivered; None until the first subscriber began.
        anchored: All subscribers have been given everything up to it. Otherwise there were some
            without a position when it was found, who are to be given what is still on its way.
        joining: The subscribers that are about to begin.
        held: What came since something was missed, until that is filled; None if nothing is.
        again: What is being read may be from before the last loss.
        heard: A publication came since the last look.
    """

    __slots__ = ("again", "anchored", "heard", "held", "joining", "meta_ttl", "position")

    def __init__(self, meta_ttl: float) -> None:
        self.meta_ttl = meta_ttl
        self.position: Position | None = None
        self.anchored = True
        self.joining: set[Joining] = set()
        self.held: list[tuple[Publication, Link]] | None = None
        self.again = False
        self.heard = False


class Joining:
    """One subscription on its way into a stream; made by :meth:`Streams.join`.

    From its making on, what comes live is kept for it; so it must be finished or abandoned.
    """

    __slots__ = ("_channel", "_history", "_live", "_request", "_stream", "_streams", "_terms")

    def __init__(
        self,
        streams: Streams,
        stream: _Stream,
        channel: str,
        terms: Terms,
        request: SubscribeRequest,
    ) -> None:
        self._streams = streams
        self._stream = stream
        self._channel = channel
        self._terms = terms
        self._request = request
        self._live: list[Live] | None = []
        self._history: History | None = None
        stream.joining.add(self)

    @property
    def intact(self) -> bool:
        """Whether everything that came live was kept; if not, another must be made."""
        return self._live is not None and self._streams.holds(self._channel, self._stream)

    @property
    def ready(self) -> bool:
        """Whether what is needed to begin was read."""
        return self._history is not None

    async def read(self) -> None:
        """Read what is needed to begin.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """
        stream, request = self._stream, self._request
        wanted = recovery.needed(self._terms, request, self._streams.recovery_limit)
        position = stream.position
        # Where the process is, is where a new subscriber may begin: a crowd costs no reading.
        if position is not None and stream.anchored and stream.held is None:
            here = (request.offset, request.epoch) == position[:2] and not self._terms.cache
            if wanted is POSITION_ONLY or here:
                self._history = History(position)
                return
        self._history = await self._streams.broker.history(
            self._channel, wanted, meta_ttl=stream.meta_ttl, seen=position
        )

    def keep(self, live: Live) -> None:
        """Keep what comes meanwhile; called by the streams."""
        if self._live is not None:
            self._live.append(live)
            if len(self._live) > _MAX_HELD:
                self._live = None

    def finish(
        self, subscriber: Subscriber, told: Delivery = BY_NAME, max_bytes: int = recovery.MAX_BYTES
    ) -> SubscribeResult:
        """Begin: from now on the hub delivers. Returns the reply, which must be sent first.

        Args:
            subscriber: Who.
            told: How it is told.
            max_bytes: How much it may be resumed with.

        Raises:
            ReplyError: 112, see recovery.begin; it is abandoned.
            Disconnect: 3010, the same; 3506 where its encoding cannot say what it has missed.
        """
        if self._history is None or self._live is None:
            raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "not intact")
        result, position = recovery.begin(
            self._terms, self._request, self._history, self._live, told=told, max_bytes=max_bytes
        )
        missed = write_past(told, subscriber.codec, result.publications)
        told = told._replace(based=bool(missed))
        self._stream.joining.discard(self)
        self._streams.joined(self._channel, self._stream, subscriber, told, position)
        return msgspec.structs.replace(result, publications=missed, delta=told.delta)

    def abandon(self) -> None:
        """Give it up, unless it is finished."""
        self._stream.joining.discard(self)
        if not self._stream.joining and self._streams.holds(self._channel, self._stream):
            self._streams.forget(self._channel)


class Streams:
    """All channels with history that somebody here is subscribed to with a position.

    Args:
        broker: Has the history.
        hub: Has the subscribers.
        deliver: Hands a publication to all of a channel, with the payload of the one before it
            where they have been given that.
        lost: Called for a channel whose subscribers must be told that they have missed something;
            ends their subscriptions.
        loop: The process's event loop.
        timers: The process's.
        limits: The protocol's.

    Attributes:
        losses: How often subscribers of a channel had to be told.
        filled: Publications that came from history, to fill gaps.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        hub: Hub,
        deliver: Callable[[str, Publication, Raw], None],
        lost: Callable[[str], None],
        loop: asyncio.AbstractEventLoop,
        timers: TimerWheel,
        limits: StreamLimits,
    ) -> None:
        self.broker = broker
        self.recovery_limit = limits.recovery
        self.losses = 0
        self.filled = 0
        self.slot: int | None = None
        self._hub = hub
        self._deliver = deliver
        self._lost = lost
        self._loop = loop
        self._timers = timers
        self._check_seconds = limits.check_seconds
        self._streams: dict[str, _Stream] = {}
        self._behind: dict[str, None] = {}  # in the order in which they fell behind
        self._repairing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._streams)

    def holds(self, channel: str, stream: _Stream) -> bool:
        """Whether this is still the channel's."""
        return self._streams.get(channel) is stream

    def position(self, channel: str) -> Position | None:
        """Where this process is in a channel's stream, if it is in it."""
        stream = self._streams.get(channel)
        return stream.position if stream is not None else None

    def close(self) -> None:
        """End."""
        self._timers.cancel(self)
        for task in (self._repairing, self._checking):
            if task is not None:
                task.cancel()

    # Subscribers

    def join(
        self, channel: str, terms: Terms, request: SubscribeRequest, meta_ttl: float
    ) -> Joining:
        """Begin to keep what comes live for a subscriber; the broker must be subscribed."""
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = _Stream(meta_ttl)
            if self.slot is None:
                self._timers.schedule(self, self._loop.time() + self._check_seconds)
        return Joining(self, stream, channel, terms, request)

    def joined(
        self,
        channel: str,
        stream: _Stream,
        subscriber: Subscriber,
        told: Delivery,
        position: Position,
    ) -> None:
        """Add a subscriber that knows everything up to a position; called by Joining."""
        here = stream.position
        ahead = 0
        if here is None:
            stream.position = position
            stream.anchored = channel not in self._hub
            ahead = 0 if stream.anchored else position.offset
        elif position.epoch != here.epoch:
            # Added first, so that the channel is not given up with the last of the others. It is
            # not told anything: its subscription is none before the reply.
            self._hub.add(channel, subscriber, told)
            self._lose(channel, stream, position)
            return
        elif position.offset < here.offset:
            raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "behind the others")
        elif position.offset > here.offset:
            ahead = position.offset
        self._hub.add(channel, subscriber, told, ahead)
        if stream.again and stream.held is None:
            self._fall_behind(channel, stream)

    def forget(self, channel: str) -> None:
        """Forget a channel that only others are subscribed to."""
        if channel not in self._hub:
            self.drop(channel)

    def drop(self, channel: str) -> None:
        """Forget a channel that the broker is not subscribed to any more."""
        if self._streams.pop(channel, None) is None:
            return
        self._behind.pop(channel, None)
        if not self._streams:
            self._timers.cancel(self)

    # What the broker says

    def receive(self, channel: str, publication: Publication, link: Link | None) -> None:
        """Deliver a publication, or keep it until those before it are there."""
        if link is None:
            self._deliver(channel, publication, ABSENT)
            return
        if publication.offset == 1:
            # For who subscribed to a stream that had nothing, not even an epoch, on this server.
            publication = msgspec.structs.replace(publication, epoch=link.epoch)
        stream = self._streams.get(channel)
        if stream is None:
            self._deliver(channel, publication, ABSENT)
            return
        stream.heard = True
        for joining in stream.joining:
            joining.keep(Live(publication, link.epoch, link.mark))
        self._take(channel, stream, publication, link)

    def missed(self, channel: str) -> None:
        """Note that publications of a channel may have passed by."""
        stream = self._streams.get(channel)
        if stream is None:
            return
        if stream.position is None:
            stream.again = True  # once the first subscriber has begun
        else:
            self._fall_behind(channel, stream)

    def _take(self, channel: str, stream: _Stream, publication: Publication, link: Link) -> None:
        if stream.held is not None:
            stream.held.append((publication, link))
            if len(stream.held) > _MAX_HELD:
                stream.held.clear()  # the history has them
                stream.again = True
            return
        position = stream.position
        offset = publication.offset
        if position is None:
            self._deliver(channel, publication, ABSENT)
        elif link.epoch != position.epoch:
            self._lose(channel, stream, Position(offset, link.epoch, link.mark))
            self._deliver(channel, publication, ABSENT)
        elif offset == position.offset + 1 and link.previous == position.mark:
            stream.position = Position(offset, link.epoch, link.mark)
            stream.anchored = True
            self._deliver(channel, publication, link.prev_data)
        elif offset > position.offset or (offset == position.offset and link.mark != position.mark):
            self._fall_behind(channel, stream)
            self._take(channel, stream, publication, link)
        elif not stream.anchored:
            stream.position = Position(offset, link.epoch, link.mark)
            stream.anchored = True
            self._deliver(channel, publication, ABSENT)

    # What was missed

    def _fall_behind(self, channel: str, stream: _Stream) -> None:
        if stream.held is None:
            stream.held = []
        stream.again = True
        self._behind[channel] = None
        if self._repairing is None:
            self._repairing = self._loop.create_task(self._repair())

    async def _repair(self) -> None:
        try:
            while self._behind:
                batch = list(islice(self._behind, _BATCH))
                done = await asyncio.gather(*map(self._catch_up, batch), return_exceptions=True)
                for failure in done:
                    if isinstance(failure, BaseException):
                        # A fault of ours must not keep the other channels behind.
                        logger.error("gap not filled", exc_info=failure)
                if done.count(True) < len(done):
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._repairing = None

    async def _catch_up(self, channel: str) -> bool:
        """Fill a channel's gap; False if the broker is away."""
        stream = self._streams.get(channel)
        while stream is not None and stream.held is not None and stream.position is not None:
            stream.again = False
            wanted = HistoryFilter(limit=_CHUNK, since=stream.position.offset)
            try:
                history = await self.broker.history(
                    channel, wanted, meta_ttl=stream.meta_ttl, seen=stream.position
                )
            except BrokerUnavailable:
                return False
            if self._streams.get(channel) is not stream:
                return True
            self._fill(channel, stream, stream.position, history)
        self._behind.pop(channel, None)
        return True

    def _fill(self, channel: str, stream: _Stream, position: Position, history: History) -> None:
        """Deliver what was read, and then what was held, as far as it joins."""
        found, top = history.publications, history.position
        expected = range(position.offset + 1, position.offset + 1 + len(found))
        reached = found[-1].offset if found else position.offset
        if (
            top.epoch != position.epoch
            or [publication.offset for publication in found] != list(expected)
            or (not found and top.offset > position.offset)
        ):
            self._lose(channel, stream, top)
            if stream.again:
                return
        else:
            for publication in found:
                for joining in stream.joining:
                    joining.keep(Live(publication, top.epoch, history.last_mark))
                self._deliver(channel, publication, ABSENT)
            self.filled += len(found)
            if found:
                stream.position = Position(reached, top.epoch, history.last_mark)
                stream.anchored = True
            if stream.again or reached < top.offset:
                return
            if not found and stream.held and not self._joins(stream.held, position):
                # Neither the stream nor what comes live has what is between them.
                self._lose(channel, stream, top)
        self._release(channel, stream)

    @staticmethod
    def _joins(held: list[tuple[Publication, Link]], position: Position) -> bool:
        for publication, link in held:
            if link.epoch != position.epoch:
                return True  # which is dealt with when it is delivered
            if publication.offset > position.offset:
                return publication.offset == position.offset + 1 and link.previous == position.mark
            if publication.offset == position.offset:
                return link.mark == position.mark
        return True

    def _release(self, channel: str, stream: _Stream) -> None:
        held, stream.held = stream.held or [], None
        self._behind.pop(channel, None)
        for publication, link in held:
            self._take(channel, stream, publication, link)

    def _lose(self, channel: str, stream: _Stream, position: Position) -> None:
        """Tell all that they have missed something, and begin anew."""
        stream.position = position
        stream.anchored = True
        self.losses += 1
        self._lost(channel)

    # Now and then

    def tick(self, now: float) -> None:
        """Compare the positions of channels that were silent (called by the timer wheel)."""
        if not self._streams:
            return
        self._timers.schedule(self, now + self._check_seconds)
        if self._checking is None:
            self._checking = self._loop.create_task(self._check())

    async def _check(self) -> None:
        try:
            silent = [channel for channel, stream in self._streams.items() if not stream.heard]
            for stream in self._streams.values():
                stream.heard = False
            for start in range(0, len(silent), _BATCH):
                await asyncio.gather(*map(self._compare, silent[start : start + _BATCH]))
        finally:
            self._checking = None

    async def _compare(self, channel: str) -> None:
        stream = self._streams.get(channel)
        if stream is None or stream.position is None or stream.held is not None:
            return
        position = stream.position
        try:
            history = await self.broker.history(channel, meta_ttl=stream.meta_ttl, seen=position)
        except BrokerUnavailable:
            return  # the channel is compared when the broker is back
        # Meanwhile it may have moved on, which is an answer too.
        same = self._streams.get(channel) is stream and stream.position == position
        if same and history.position != position:
            self._fall_behind(channel, stream)
