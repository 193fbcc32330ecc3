"""The embedded broker: publications, and what is kept of them, stay in this process."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count, islice
from math import inf

import msgspec

from ws_gateway.broker.base import (
    META_TTL,
    PLAIN,
    POSITION_ONLY,
    Change,
    ChangesHandler,
    Handler,
    History,
    HistoryFilter,
    Link,
    MissedHandler,
    Position,
    Published,
    PublishOptions,
)
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import ABSENT, Publication

_IDEMPOTENCY_SECONDS = 300
_MAX_STREAMS = 100_000
_MAX_RESULTS = 100_000


class _Stream:
    """One channel's publications and position.

    Attributes:
        kept: The last publications.
        kept_until: When those are forgotten.
        known_until: When the position is.
        due: It is among those that will be looked at when their publications may be forgotten.
    """

    __slots__ = (
        "due",
        "epoch",
        "kept",
        "kept_until",
        "known_until",
        "top",
        "version",
        "version_epoch",
    )

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.top = 0
        self.kept: deque[Publication] = deque()
        self.kept_until = inf
        self.known_until = inf
        self.due = False
        self.version = 0
        self.version_epoch = ""


class MemoryBroker:
    """Delivers before ``publish`` returns; needs nothing and is always ready.

    Streams that nobody has touched for the longest time give way to new ones past a number of
    them; who comes back to one finds a new epoch, as after its time.

    Args:
        clock: Monotonic seconds.
        max_streams: How many channels may have a position.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_streams: int = _MAX_STREAMS
    ) -> None:
        self._clock = clock
        self._max_streams = max_streams
        self._handler: Handler | None = None
        self._changed: ChangesHandler | None = None
        self._channels: set[str] = set()
        self._streams: OrderedDict[str, _Stream] = OrderedDict()  # the last touched last
        # The streams that keep something, by when that may be forgotten at the earliest; the number
        # decides between equals.
        self._due: list[tuple[float, int, _Stream]] = []
        self._numbers = count()
        self._evicted = 0  # streams, since those were tidied
        self._results: OrderedDict[tuple[str, str], tuple[float, Published]] = OrderedDict()

    async def start(
        self,
        handler: Handler,
        missed: MissedHandler | None = None,  # noqa: ARG002 - nothing is ever missed
        changed: ChangesHandler | None = None,
    ) -> None:
        """See Broker."""
        self._handler = handler
        self._changed = changed

    async def stop(self) -> None:
        """See Broker."""
        self._handler = self._changed = None
        self._channels.clear()
        self._due.clear()

    def subscribed(self, channel: str) -> bool:
        """See Broker."""
        return channel in self._channels

    async def subscribe(self, channel: str) -> None:
        """See Broker."""
        self._channels.add(channel)

    def unsubscribe(self, channel: str) -> None:
        """See Broker."""
        self._channels.discard(channel)

    async def publish(
        self, channel: str, publication: Publication, options: PublishOptions = PLAIN
    ) -> Published:
        """See Broker."""
        if self._handler is None:
            raise BrokerUnavailable
        now = self._clock()
        key = (channel, options.idempotency_key)
        if options.idempotency_key:
            self._forget_results(now)
            if (known := self._results.get(key)) is not None:
                first = known[1]
                return Published(first.offset, first.epoch, first.receivers, suppressed=True)
        published = self._publish(channel, publication, options, now)
        if options.idempotency_key and not published.suppressed:
            self._results[key] = now + _IDEMPOTENCY_SECONDS, published
        return published

    async def announce(self, channel: str, changes: Sequence[Change]) -> None:
        """See Broker."""
        if self._handler is None:
            raise BrokerUnavailable
        if self._changed is not None and channel in self._channels:
            self._changed(channel, changes)

    async def history(
        self,
        channel: str,
        wanted: HistoryFilter = POSITION_ONLY,
        *,
        meta_ttl: float = 0,
        seen: Position | None = None,  # noqa: ARG002 - what was seen here is still here
    ) -> History:
        """See Broker."""
        if self._handler is None:
            raise BrokerUnavailable
        stream = self._stream(channel, self._clock(), meta_ttl)
        return History(Position(stream.top, stream.epoch), _select(stream.kept, wanted))

    async def remove_history(self, channel: str) -> None:
        """See Broker."""
        if self._handler is None:
            raise BrokerUnavailable
        stream = self._streams.get(channel)
        if stream is not None:
            stream.kept.clear()

    def ready(self) -> bool:
        """See Broker."""
        return self._handler is not None

    def _publish(
        self, channel: str, publication: Publication, options: PublishOptions, now: float
    ) -> Published:
        epoch, link = "", None
        if options.history_size:
            self._forget_publications(now)
            stream = self._stream(channel, now, options.history_meta_ttl)
            if _outdated(stream, options):
                return Published(stream.top, stream.epoch, 0, suppressed=True)
            previous = stream.kept[-1].data if options.use_delta and stream.kept else ABSENT
            publication, epoch = self._append(stream, publication, options, now), stream.epoch
            link = Link(epoch=epoch, mark=0, previous=0, prev_data=previous)
        receivers = 0
        if channel in self._channels and self._handler is not None:
            self._handler(channel, publication, link, 0)
            receivers = 1
        return Published(publication.offset, epoch, receivers)

    def _append(
        self, stream: _Stream, publication: Publication, options: PublishOptions, now: float
    ) -> Publication:
        stream.top += 1
        kept = msgspec.structs.replace(publication, offset=stream.top)
        stream.kept.append(kept)
        while len(stream.kept) > options.history_size:
            stream.kept.popleft()
        stream.kept_until = now + options.history_ttl
        if not stream.due:
            stream.due = True
            heappush(self._due, (stream.kept_until, next(self._numbers), stream))
        if options.version:
            stream.version, stream.version_epoch = options.version, options.version_epoch
        return kept

    def _stream(self, channel: str, now: float, meta_ttl: float) -> _Stream:
        """Find a channel's stream, or begin one."""
        streams = self._streams
        # Those before it were touched earlier; most have also the same time to live.
        while streams:
            oldest = next(iter(streams.values()))
            if oldest.known_until > now and len(streams) < self._max_streams:
                break
            oldest.kept.clear()
            streams.popitem(last=False)
            self._evicted += 1
        if self._evicted > self._max_streams:
            # They would stay where they wait for their time to be over.
            self._evicted = 0
            self._due = [entry for entry in self._due if _is_kept(entry[2])]
            heapify(self._due)
        stream = streams.get(channel)
        if stream is None or stream.known_until <= now:
            stream = streams[channel] = _Stream()
        streams.move_to_end(channel)
        if stream.kept_until <= now:
            stream.kept.clear()
        stream.known_until = now + (meta_ttl or META_TTL)
        return stream

    def _forget_publications(self, now: float) -> None:
        """Forget what is over in channels that nobody looks at any more."""
        while self._due and self._due[0][0] <= now:
            _, number, stream = heappop(self._due)
            if stream.kept and stream.kept_until > now:
                heappush(self._due, (stream.kept_until, number, stream))
            else:
                stream.kept.clear()
                stream.due = False

    def _forget_results(self, now: float) -> None:
        results = self._results
        while results:
            until, _ = next(iter(results.values()))
            if until > now and len(results) < _MAX_RESULTS:
                return
            results.popitem(last=False)


def _is_kept(stream: _Stream) -> bool:
    stream.due = bool(stream.kept)
    return stream.due


def _outdated(stream: _Stream, options: PublishOptions) -> bool:
    return (
        options.version > 0
        and options.version_epoch == stream.version_epoch
        and options.version <= stream.version
    )


def _select(kept: deque[Publication], wanted: HistoryFilter) -> tuple[Publication, ...]:
    if not kept or not wanted.limit:
        return ()
    first, past = kept[0].offset, kept[-1].offset + 1
    if wanted.since is not None:
        if wanted.reverse:
            past = min(past, wanted.since)
        else:
            first = max(first, wanted.since + 1)
    count = past - first if wanted.limit < 0 else min(wanted.limit, past - first)
    if count <= 0:
        return ()
    base = kept[0].offset
    if wanted.reverse:
        return tuple(islice(reversed(kept), kept[-1].offset + 1 - past, None))[:count]
    return tuple(islice(kept, first - base, first - base + count))
