"""The broker between processes: publications travel through Redis pub/sub."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import resources

from ws_gateway.broker.base import (
    META_TTL,
    PLAIN,
    POSITION_ONLY,
    Change,
    ChangesHandler,
    Handler,
    History,
    HistoryFilter,
    MissedHandler,
    Position,
    Published,
    PublishOptions,
)
from ws_gateway.broker.last_positions import LastPositions
from ws_gateway.broker.redis_message import (
    CHANGES,
    read_changes,
    read_entry,
    read_message,
    write_changes,
    write_publication,
)
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.metrics import Buckets, Metrics
from ws_gateway.protocol.messages import Publication
from ws_gateway.redis_commands import Script
from ws_gateway.redis_keys import slot_tag

logger = logging.getLogger(__name__)

PREFIX = b"drawbridge:1:ch:"
"""Of every channel's name in Redis; the 1 is the version of names."""

_LAG_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_START_CHECKS_PER_SECOND = 100


_IDEMPOTENCY_SECONDS = 300
_MARK_BITS = 63
_MAX_OFFSET = 2**53  # what Lua counts exactly, and no stream will have
_MAX_REMEMBERED = 10_000  # channels; looking at them all costs Redis a tenth of a second
_EPOCH_TIME_DIGITS = 11  # of the milliseconds since 1970; five random ones follow
_EPOCH = re.compile(r"[0-9a-f]{16}")


def _script(name: str, *, sharded: bool = False) -> Script:
    source = resources.files("ws_gateway.broker").joinpath(f"lua/{name}").read_text("utf-8")
    if sharded:
        source = source.replace("'PUBLISH'", "'SPUBLISH'")
    return Script(source, f"broker_{name.removesuffix('.lua')}")


_PUBLISH, _SHARDED_PUBLISH = _script("publish.lua"), _script("publish.lua", sharded=True)
_HISTORY = _script("history.lua")


class RedisBroker:
    """Carries publications through Redis, over two connections to each of its servers.

    One is subscribed to the channels that have a subscriber in this process and to no other; the
    other publishes. Both are probed, and made again after a loss by themselves.

    While the subscriber's connection is away or not everything is subscribed again, nothing is
    delivered, and what others publish meanwhile passes by. Channels stay wanted: whoever is
    subscribed gets what is published from the new confirmation on, without doing anything. But
    :meth:`subscribed` is false then, so that a new subscriber waits for the confirmation, or is
    told that there is none, even if others of this process have the channel.

    A publish that fails may still have reached Redis, and with it subscribers: the connection
    broke before the reply. One that succeeds was taken by Redis; pub/sub keeps nothing for
    processes that are away, but the streams of channels with history do: a process is told
    which channels it may have missed something of.

    What two servers say of one stream may differ: one that was restarted from an older snapshot,
    or took over from a primary, has lost its tail, and gives the same offsets again. The random
    mark that goes with every offset tells it; see ``Position``. The positions that were heard of
    last are remembered, whether somebody is still subscribed or not, and on every new connection
    the server is asked about them before anything else.

    Whoever can write to Redis can publish anything to anyone. What does not parse, or is longer
    than any gateway would send, is counted and dropped.

    Args:
        redis: Where and how.
        metrics: Where to count.
        clock: Unix time in seconds.

    Attributes:
        commands: The connection that publishes, for others of this process.
    """

    def __init__(
        self,
        redis: Topology,
        *,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._timing = redis.timing
        self._handler: Handler | None = None
        self._missed: MissedHandler | None = None
        self._changed: ChangesHandler | None = None
        self._running: asyncio.Task[None] | None = None
        self._malformed = 0
        self._publish_errors = 0
        self._lag = Buckets(_LAG_BUCKETS)
        self._publish_word = b"SPUBLISH" if redis.sharded else b"PUBLISH"
        self._publish_script = _SHARDED_PUBLISH if redis.sharded else _PUBLISH
        self._key = _sharded_channel if redis.sharded else _channel
        self.commands = redis.commands((self._publish_script, _HISTORY))
        self._last = LastPositions(_MAX_REMEMBERED)
        self.commands.share((), self._look_back)
        self._subscriber = redis.subscriber(
            key=self._key, handler=self._receive, resumed=self._resumed
        )
        self._register(metrics)

    async def start(
        self,
        handler: Handler,
        missed: MissedHandler | None = None,
        changed: ChangesHandler | None = None,
    ) -> None:
        """See Broker. Waits a moment for Redis, not longer: it may come later."""
        self._handler = handler
        self._missed = missed
        self._changed = changed
        self._subscriber.start()
        self._running = asyncio.create_task(self._run())
        for _ in range(round(self._timing.connect * _START_CHECKS_PER_SECOND)):
            if self.ready():
                return
            await asyncio.sleep(1 / _START_CHECKS_PER_SECOND)

    async def stop(self) -> None:
        """See Broker."""
        self._handler = self._changed = None
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None
        self.commands.close()
        self._subscriber.close()

    def subscribed(self, channel: str) -> bool:
        """See Broker."""
        return self._subscriber.subscribed(channel)

    async def subscribe(self, channel: str) -> None:
        """See Broker."""
        await self._subscriber.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """See Broker."""
        self._subscriber.unsubscribe(channel)

    async def publish(
        self, channel: str, publication: Publication, options: PublishOptions = PLAIN
    ) -> Published:
        """See Broker."""
        payload = write_publication(publication, self._clock())
        try:
            if options.history_size or options.idempotency_key:
                return await self._append(channel, payload, options)
            receivers = await self.commands.ask(self._publish_word, self._key(channel), payload)
        except BrokerUnavailable:
            self._publish_errors += 1
            raise
        return Published(offset=0, epoch="", receivers=int(receivers))

    async def _append(self, channel: str, payload: bytes, options: PublishOptions) -> Published:
        keys: tuple[bytes, ...] = _keys(channel)
        if options.idempotency_key:
            keys = (*keys, _result_key(channel, options.idempotency_key))
        seen = self._seen(channel, options.seen)
        mark = _new_mark()
        offset, epoch, receivers, suppressed = await self.commands.call(
            self._publish_script,
            keys,
            self._key(channel),
            payload,
            b"%d" % mark,
            *_bounds(options.history_size, options.history_ttl, options.history_meta_ttl),
            _new_epoch(self._clock(), seen.epoch),
            seen.epoch.encode(),
            b"%d" % seen.offset,
            b"%d" % options.version,
            options.version_epoch.encode(),
            b"1" if options.use_delta else b"0",
            _milliseconds(_IDEMPOTENCY_SECONDS) if options.idempotency_key else b"0",
        )
        published = Published(offset, epoch.decode(), receivers, suppressed=bool(suppressed))
        if offset and not suppressed:
            self._last.note(channel, Position(offset, published.epoch, mark))
        return published

    async def announce(self, channel: str, changes: Sequence[Change]) -> None:
        """See Broker."""
        await self.commands.ask(self._publish_word, self._key(channel), write_changes(changes))

    async def history(
        self,
        channel: str,
        wanted: HistoryFilter = POSITION_ONLY,
        *,
        meta_ttl: float = 0,
        seen: Position | None = None,
    ) -> History:
        """See Broker."""
        known = self._seen(channel, seen)
        # Who has been somewhere asks about that very place: that this process has heard of later
        # ones says nothing of it.
        if seen is None or seen.epoch != known.epoch:
            seen = known
        # There is nothing before the first, and an interval that cannot be is an error in Redis.
        limit = 0 if wanted.reverse and wanted.since == 0 else wanted.limit
        top, epoch, mark, entries = await self.commands.call(
            _HISTORY,
            _keys(channel),
            b"%d" % limit,
            b"" if wanted.since is None else b"%d" % min(wanted.since, _MAX_OFFSET),
            b"1" if wanted.reverse else b"0",
            _meta_ttl(meta_ttl, 0),
            _new_epoch(self._clock(), seen.epoch),
            seen.epoch.encode(),
            b"%d" % seen.offset,
            b"%d" % seen.mark,
        )
        position = Position(top, epoch.decode(), int(mark))
        self._last.note(channel, position)
        try:
            read = [read_entry(entry) for entry in entries]
        except ValueError:
            # A stream that somebody else has written into; what is missing will be seen.
            self._malformed += 1
            read = []
        return History(
            position,
            tuple(publication for publication, _ in read),
            read[-1][1] if read else 0,
        )

    async def remove_history(self, channel: str) -> None:
        """See Broker."""
        await self.commands.request(b"DEL", _keys(channel)[0])

    def ready(self) -> bool:
        """See Broker."""
        return self._subscriber.ready and self.commands.link.connected

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._subscriber.link.run())
            tasks.create_task(self.commands.link.run())

    def _receive(self, channel: str, payload: bytes) -> None:
        if payload.startswith(CHANGES):
            self._receive_changes(channel, payload)
            return
        try:
            publication, link, published_at = read_message(payload)
        except ValueError:  # msgspec's errors are of this kind
            self._malformed += 1
            return
        self._lag.observe(max(0.0, self._clock() - published_at))
        if link is not None:
            here = Position(publication.offset, link.epoch, link.mark)
            self._last.note(channel, here, link.previous)
        if self._handler is None:
            return
        try:
            self._handler(channel, publication, link, published_at)
        except Exception:
            # One that fails must not take the connection of all others with it.
            logger.exception("publication not delivered", extra={"channel": channel})

    def _receive_changes(self, channel: str, payload: bytes) -> None:
        try:
            changes = read_changes(payload)
        except ValueError:
            self._malformed += 1
            return
        if self._changed is None:
            return
        try:
            self._changed(channel, changes)
        except Exception:
            logger.exception("changes not delivered", extra={"channel": channel})

    def _seen(self, channel: str, seen: Position | None) -> Position:
        """Return the furthest that the caller, or anybody here, has seen of a stream."""
        if seen is not None:
            self._last.note(channel, seen)
        return self._last.find(channel)

    def _look_back(self) -> None:
        """Ask a server that is new to us for what it may have lost, ahead of all other requests."""
        now = self._clock()
        for channel, seen in self._last:
            with contextlib.suppress(BrokerUnavailable):
                self.commands.request(
                    *(b"EVALSHA", _HISTORY.digest, b"2", *_keys(channel), b"0", b"", b"0", b"0"),
                    *(_new_epoch(now, seen.epoch), seen.epoch.encode()),
                    *(b"%d" % seen.offset, b"%d" % seen.mark),
                ).add_done_callback(partial(self._asked, channel, seen))

    def _asked(self, channel: str, seen: Position, asked: asyncio.Future[object]) -> None:
        """Take no answer: who needs one asks again."""
        if not asked.cancelled() and asked.exception() is None:
            self._last.settle(channel, seen)

    def _resumed(self, channel: str) -> None:
        if self._missed is None:
            return
        try:
            self._missed(channel)
        except Exception:
            logger.exception("missed publications not noted", extra={"channel": channel})

    def _register(self, metrics: Metrics) -> None:
        subscriber, commands = self._subscriber, self.commands
        metrics.table("positions", lambda: len(self._last))
        metrics.gauge(
            "gateway_redis_subscriber_connected",
            "1 while everything wanted is subscribed.",
            lambda: subscriber.ready,
        )
        for name, text, read in (
            (
                "gateway_redis_reconnects",
                "Connections to Redis made again.",
                lambda: subscriber.link.reconnects + commands.link.reconnects,
            ),
            (
                "gateway_redis_messages_received",
                "Messages from Redis.",
                lambda: subscriber.messages,
            ),
            (
                "gateway_redis_publish_errors",
                "Publications that Redis did not acknowledge.",
                lambda: self._publish_errors,
            ),
            (
                "gateway_redis_malformed",
                "Messages from Redis that were dropped.",
                lambda: self._malformed,
            ),
            (
                "gateway_redis_deaf_seconds",
                "Time in which messages may have passed by.",
                lambda: subscriber.deaf_seconds,
            ),
        ):
            metrics.counter(name, text, read)
        metrics.histogram(
            "gateway_redis_lag_seconds", "From publish to receive, by both clocks.", self._lag
        )
        metrics.histogram_by(
            "gateway_redis_command_duration_seconds",
            "From a request to Redis to its reply, by the command or our script.",
            "command",
            commands.durations,
        )


def _channel(name: str) -> bytes:
    return PREFIX + name.encode()


def _sharded_channel(name: str) -> bytes:
    return PREFIX + b"{%b}" % slot_tag(name)


def _keys(channel: str) -> tuple[bytes, bytes]:
    """Name a channel's stream and meta data; what is in braces keeps them in one Cluster slot."""
    name = slot_tag(channel)
    return PREFIX + b"s:{%b}" % name, PREFIX + b"m:{%b}" % name


def _result_key(channel: str, idempotency_key: str) -> bytes:
    # Hashed, for a key of any length and content must not be able to name another channel's.
    digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
    return PREFIX + b"i:{%b}:%b" % (slot_tag(channel), digest.encode())


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))


@lru_cache(256)
def _bounds(size: int, ttl: float, meta_ttl: float) -> tuple[bytes, bytes, bytes]:
    # There are as many as there are namespaces.
    return b"%d" % size, _milliseconds(ttl), _meta_ttl(meta_ttl, ttl)


def _meta_ttl(seconds: float, history_ttl: float) -> bytes:
    # A position outlives its publications, or they would come back under another epoch.
    return _milliseconds(max(seconds or META_TTL, history_ttl))


def _new_epoch(now: float, seen: str) -> bytes:
    """Make an epoch that comes after all that were made before, and after the one seen.

    So a stream whose newest epoch was lost with its tail is known by the older one it shows, and
    those who have positions of that older epoch are not taken for who knows its new entries.
    """
    made = b"%0*x" % (_EPOCH_TIME_DIGITS, round(now * 1000))
    # Made for every publication and hardly ever needed: as text, in the order of numbers.
    if seen.encode() >= made and _EPOCH.fullmatch(seen):
        made = b"%0*x" % (_EPOCH_TIME_DIGITS, int(seen[:_EPOCH_TIME_DIGITS], 16) + 1)
    return b"%b%05x" % (made, random.getrandbits(20))


def _new_mark() -> int:
    return random.getrandbits(_MARK_BITS) or 1  # it tells apart, and guards nothing
