"""Which Redis channels this process is subscribed to, over one link."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import RedisError

from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_endpoint import Endpoint
from ws_gateway.redis_link import Link, Patience, Timing

MessageHandler = Callable[[str, bytes], None]
"""Takes (name, payload); synchronous and quick, must not raise."""

_PING = hiredis.pack_command(("PING",))

# How many channels may be without confirmation. Redis answers each SUBSCRIBE of many channels
# with one confirmation a channel; past 8 MB of them for a minute it would cut the connection,
# and other clients wait while it works on one command.
BATCH = 1000
_MESSAGE_PARTS = 3


class Channel:
    """One channel, from the first wish for it until Redis has confirmed that it is given up.

    Attributes:
        key: Its name in Redis.
        name: Its name here.
        held: A subscribe() has succeeded, and no unsubscribe() came since.
        waiters: The subscribe() calls that wait for it; None while none does: an empty set is
            larger than all the rest.
        sent: The last command about it on this connection was SUBSCRIBE.
        unconfirmed: Commands about it that Redis has not confirmed.
        live: Its messages are delivered.
        deaf: They were, over a connection that is lost.
    """

    __slots__ = ("deaf", "held", "key", "live", "name", "sent", "unconfirmed", "waiters")

    def __init__(self, key: bytes, name: str) -> None:
        self.key = key
        self.name = name
        self.held = False
        self.waiters: set[asyncio.Future[None]] | None = None
        self.sent = False
        self.unconfirmed = 0
        self.live = False
        self.deaf = False

    @property
    def wanted(self) -> bool:
        """Whether it is held, or somebody waits for it."""
        return self.held or bool(self.waiters)


class Subscriber:
    """Keeps the server's subscriptions equal to what is wanted here.

    A wish only marks a channel. At the end of the tick all marked channels are compared with what
    was sent last, and the difference goes out in one SUBSCRIBE and one UNSUBSCRIBE: a channel
    given up and wanted again in one tick costs nothing. At most ``BATCH`` channels are without
    confirmation, so that many are (re)subscribed in batches, each after the one before.

    Args:
        endpoint: Where Redis is.
        key: Makes a channel's name in Redis of its name here.
        handler: Called for every message in a live channel.
        resumed: Called with the name of a channel whose messages come again after a lost
            connection, before the first of them; synchronous and quick, must not raise.
        timing: How patient it is.
        jitter: See Link.

    Attributes:
        link: Its connection; somebody has to run it.
        messages: How many messages came.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        key: Callable[[str], bytes],
        handler: MessageHandler,
        resumed: Callable[[str], None] = lambda _name: None,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.link = Link(endpoint, self, name="subscriber", timing=timing, jitter=jitter)
        self.messages = 0
        self._key = key
        self._handler = handler
        self._resumed = resumed
        self._patience = Patience(timing.reply)
        self._channels: dict[bytes, Channel] = {}
        self._marked: dict[bytes, Channel] = {}
        self._flushing = False
        self._unconfirmed = 0
        # What was wanted when the connection was made, and has not been confirmed on it.
        self._missing: set[bytes] | None = None
        self._deaf_since: float | None = None
        self._deaf_seconds = 0.0

    def start(self) -> None:
        """Begin to count the time without subscriptions."""
        self._deaf_since = asyncio.get_running_loop().time()

    def close(self) -> None:
        """End; the link has been stopped, and whoever still waits is told."""
        self._deaf_seconds = self.deaf_seconds
        self._deaf_since = None
        for channel in self._channels.values():
            for waiter in channel.waiters or ():
                if not waiter.done():
                    waiter.set_exception(BrokerUnavailable("stopped"))
        self._patience.close()
        self._channels.clear()
        self._marked.clear()

    @property
    def ready(self) -> bool:
        """Whether everything that is wanted is subscribed, but for the newest wishes."""
        return self._missing is not None and not self._missing

    @property
    def deaf_seconds(self) -> float:
        """How long in all, in seconds, messages may have passed by: no connection, or not all."""
        if self._deaf_since is None:
            return self._deaf_seconds
        return self._deaf_seconds + asyncio.get_running_loop().time() - self._deaf_since

    def subscribed(self, name: str) -> bool:
        """Whether the channel's messages are delivered now."""
        channel = self._channels.get(self._key(name))
        return channel is not None and channel.live

    async def subscribe(self, name: str) -> None:
        """Wait until the server has confirmed, or the channel was given up meanwhile.

        Without a connection it waits for the next one, but not longer than for a reply. If this
        fails or is cancelled, the channel is kept only if somebody else has or wants it.

        Raises:
            BrokerUnavailable: No confirmation in time.
        """
        key = self._key(name)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, name)
        elif channel.live:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if channel.waiters is None:
            channel.waiters = set()
        channel.waiters.add(future)
        self._patience.watch(future, loop)
        self._mark(channel)
        try:
            await future
        finally:
            if channel.waiters is not None:
                channel.waiters.discard(future)
            if not channel.wanted:
                self._mark(channel)

    def unsubscribe(self, name: str) -> None:
        """Give a channel up; subscribe() calls that wait for it return, and find it gone."""
        channel = self._channels.get(self._key(name))
        if channel is None:
            return
        channel.held = channel.live = channel.deaf = False
        for waiter in channel.waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        channel.waiters = None
        self._mark(channel)

    # What the link says

    def connected(self) -> None:
        """See Speaker."""
        self._missing = {key for key, channel in self._channels.items() if channel.wanted}
        self._marked.update(self._channels)
        self._schedule()
        self._check_complete()

    def received(self, reply: Any) -> None:  # noqa: ANN401 - see Speaker
        """See Speaker."""
        if type(reply) is list and len(reply) == _MESSAGE_PARTS and reply[0] == b"message":
            self.messages += 1
            channel = self._channels.get(reply[1])
            if channel is not None and channel.live:
                self._handler(channel.name, reply[2])
            return
        match reply:
            case [b"subscribe" | b"unsubscribe", bytes(key), _]:
                self._confirmed(key)
            case [b"pong", _] | b"PONG":  # the second while nothing is subscribed
                pass
            case Exception():
                raise reply
            case _:
                raise RedisError("not a reply to a subscriber")

    def probe(self) -> None:
        """See Speaker."""
        self.link.write(_PING)

    def lost(self, heard_at: float) -> None:
        """See Speaker."""
        if self._deaf_since is None:
            self._deaf_since = heard_at
        self._missing = None
        self._marked.clear()
        self._unconfirmed = 0
        for channel in list(self._channels.values()):
            channel.deaf = channel.deaf or channel.live
            channel.sent = channel.live = False
            channel.unconfirmed = 0
            self._forget_unless_wanted(channel)

    # Commands and their confirmations

    def _mark(self, channel: Channel) -> None:
        self._marked[channel.key] = channel
        self._schedule()

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        subscribe: list[bytes] = []
        unsubscribe: list[bytes] = []
        while self._marked and self._unconfirmed < BATCH:
            key = next(iter(self._marked))
            channel = self._marked.pop(key)
            if not self.link.connected:
                self._forget_unless_wanted(channel)
            elif channel.wanted != channel.sent:
                (subscribe if channel.wanted else unsubscribe).append(key)
                channel.sent = channel.wanted
                channel.unconfirmed += 1
                self._unconfirmed += 1
            elif not channel.unconfirmed:
                self._settle(channel)
        self._say(subscribe, unsubscribe)
        self._check_complete()

    def _say(self, subscribe: list[bytes], unsubscribe: list[bytes]) -> None:
        if subscribe:
            self.link.write(hiredis.pack_command((b"SUBSCRIBE", *subscribe)))  # type: ignore[arg-type]
        if unsubscribe:
            self.link.write(hiredis.pack_command((b"UNSUBSCRIBE", *unsubscribe)))  # type: ignore[arg-type]

    def _confirmed(self, key: bytes) -> None:
        channel = self._channels.get(key)
        if channel is None or not channel.unconfirmed:
            raise RedisError("a confirmation that nobody asked for")
        channel.unconfirmed -= 1
        self._unconfirmed -= 1
        # One command about it may have overtaken the other here, never on the wire: only the
        # last confirmation says what is now.
        if not channel.unconfirmed and channel.wanted == channel.sent:
            self._settle(channel)
        if self._marked:
            self._schedule()
        self._check_complete()

    def _settle(self, channel: Channel) -> None:
        """Draw the consequences: the server has what is wanted."""
        if self._missing:
            self._missing.discard(channel.key)
        if not channel.sent:
            self._forget_unless_wanted(channel)
            return
        channel.live = True
        for waiter in channel.waiters or ():
            if not waiter.done():
                waiter.set_result(None)
                channel.held = True
        channel.waiters = None
        if not channel.held:  # they all went away in this very tick
            channel.live = False
            self._mark(channel)
        elif channel.deaf:
            channel.deaf = False
            self._resumed(channel.name)

    def _forget_unless_wanted(self, channel: Channel) -> None:
        # Never while a confirmation is to come: it belongs to this object.
        if not channel.wanted and not channel.unconfirmed and not channel.sent:
            if self._channels.get(channel.key) is channel:
                del self._channels[channel.key]
            if self._missing:
                self._missing.discard(channel.key)

    def _check_complete(self) -> None:
        if self.ready and self._deaf_since is not None:
            self._deaf_seconds = self.deaf_seconds
            self._deaf_since = None
