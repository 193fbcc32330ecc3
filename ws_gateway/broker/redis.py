"""The broker between processes: publications travel through Redis pub/sub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from ws_gateway.broker.base import Handler, Published
from ws_gateway.broker.redis_subscriber import Subscriber
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.metrics import Buckets, Metrics
from ws_gateway.protocol.messages import ABSENT, ClientInfo, Publication
from ws_gateway.redis_commands import Commands
from ws_gateway.redis_link import Endpoint, Timing

logger = logging.getLogger(__name__)

PREFIX = b"drawbridge:1:ch:"
"""Of every channel's name in Redis; the 1 is the version of names."""

# The largest message a client may be allowed to send, with room for its sender's info.
_MAX_MESSAGE_BYTES = 2**24 + 2**16
_LAG_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_START_CHECKS_PER_SECOND = 100


class _Info(Struct, frozen=True, array_like=True, gc=False):
    """``ClientInfo``; a payload that is absent is empty."""

    user: str
    client: str
    conn_info: bytes = b""
    chan_info: bytes = b""


class _Message(Struct, frozen=True, array_like=True, gc=False):
    """What is published in Redis: a MessagePack array.

    Fields may be added at the end without a new version; older gateways pass over them.

    Attributes:
        version: Of this format. A message of another one is dropped.
        data: The payload, byte for byte.
        published_at: Unix time in seconds, by the publisher's clock.
        info: Who published.
        offset: See Publication.
    """

    version: Literal[1]
    data: bytes
    published_at: float
    info: _Info | None = None
    offset: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode


class RedisBroker:
    """Carries publications through one Redis, over two connections.

    One is subscribed to the channels that have a subscriber in this process and to no other; the
    other publishes. Both are probed, and made again after a loss by themselves.

    While the subscriber's connection is away or not everything is subscribed again, nothing is
    delivered, and what others publish meanwhile passes by. Channels stay wanted: whoever is
    subscribed gets what is published from the new confirmation on, without doing anything. But
    :meth:`subscribed` is false then, so that a new subscriber waits for the confirmation, or is
    told that there is none, even if others of this process have the channel.

    A publish that fails may still have reached Redis, and with it subscribers: the connection
    broke before the reply. One that succeeds was taken by Redis; pub/sub keeps nothing for
    processes that are away.

    Whoever can write to Redis can publish anything to anyone. What does not parse, or is longer
    than any gateway would send, is counted and dropped.

    Args:
        url: Of the server; see Endpoint.
        metrics: Where to count.
        timing: How patient it is.
        jitter: Returns numbers from 0 to 1 that spread attempts to connect.
        clock: Unix time in seconds.

    Raises:
        ValueError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        metrics: Metrics,
        timing: Timing | None = None,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        timing = timing or Timing()
        endpoint = Endpoint(url)
        self._clock = clock
        self._timing = timing
        self._handler: Handler | None = None
        self._running: asyncio.Task[None] | None = None
        self._malformed = 0
        self._publish_errors = 0
        self._lag = Buckets(_LAG_BUCKETS)
        self._commands = Commands(endpoint, timing=timing, jitter=jitter)
        self._subscriber = Subscriber(
            endpoint, prefix=PREFIX, handler=self._receive, timing=timing, jitter=jitter
        )
        self._register(metrics)

    async def start(self, handler: Handler) -> None:
        """See Broker. Waits a moment for Redis, not longer: it may come later."""
        self._handler = handler
        self._subscriber.start()
        self._running = asyncio.create_task(self._run())
        for _ in range(round(self._timing.connect * _START_CHECKS_PER_SECOND)):
            if self.ready():
                return
            await asyncio.sleep(1 / _START_CHECKS_PER_SECOND)

    async def stop(self) -> None:
        """See Broker."""
        self._handler = None
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None
        self._commands.close()
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

    async def publish(self, channel: str, publication: Publication) -> Published:
        """See Broker."""
        message = self._to_message(publication)
        try:
            receivers = await self._commands.request(
                b"PUBLISH", PREFIX + channel.encode(), _encode(message)
            )
        except BrokerUnavailable:
            self._publish_errors += 1
            raise
        return Published(offset=0, epoch="", receivers=int(receivers))

    def ready(self) -> bool:
        """See Broker."""
        return self._subscriber.ready and self._commands.link.connected

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._subscriber.link.run())
            tasks.create_task(self._commands.link.run())

    def _receive(self, channel: str, payload: bytes) -> None:
        message = _parse(payload)
        if message is None:
            self._malformed += 1
            return
        self._lag.observe(max(0.0, self._clock() - message.published_at))
        if self._handler is None:
            return
        try:
            self._handler(channel, _to_publication(message))
        except Exception:
            # One that fails must not take the connection of all others with it.
            logger.exception("publication not delivered", extra={"channel": channel})

    def _to_message(self, publication: Publication) -> _Message:
        info = publication.info
        return _Message(
            version=1,
            data=bytes(publication.data),
            published_at=self._clock(),
            info=None
            if info is None
            else _Info(
                user=info.user,
                client=info.client,
                conn_info=bytes(info.conn_info),
                chan_info=bytes(info.chan_info),
            ),
            offset=publication.offset,
        )

    def _register(self, metrics: Metrics) -> None:
        subscriber, commands = self._subscriber, self._commands
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


def _parse(payload: bytes) -> _Message | None:
    if len(payload) > _MAX_MESSAGE_BYTES:
        return None
    try:
        return _decode(payload)
    except ValueError:  # msgspec's errors are of this kind
        return None


def _to_publication(message: _Message) -> Publication:
    info = message.info
    return Publication(
        data=Raw(message.data),
        info=None
        if info is None
        else ClientInfo(
            user=info.user,
            client=info.client,
            # The very object: codecs leave out what is ABSENT, not what is empty.
            conn_info=Raw(info.conn_info) if info.conn_info else ABSENT,
            chan_info=Raw(info.chan_info) if info.chan_info else ABSENT,
        ),
        offset=message.offset,
    )
