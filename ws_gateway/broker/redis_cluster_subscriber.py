"""Which channels of a Redis Cluster this process is subscribed to: sharded pub/sub.

A channel is where its slot is. When that moves the server says so, and so does the one that is
asked in vain; the channel goes along, and counts as one whose messages may have passed by.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError
from typing_extensions import override

from ws_gateway.broker.redis_subscriber import Channel, MessageHandler, Subscriber
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_cluster import ClusterMap
from ws_gateway.redis_endpoint import Endpoint, Node
from ws_gateway.redis_link import Timing


class ShardSubscriber(Subscriber):
    """The channels that are at one server.

    Each command names one channel, for those of one command would have to be of one slot.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        key: Callable[[str], bytes],
        handler: MessageHandler,
        resumed: Callable[[str], None],
        moved: Callable[[MovedError], None],
        timing: Timing,
        jitter: Callable[[], float],
    ) -> None:
        super().__init__(
            endpoint, key=key, handler=handler, resumed=resumed, timing=timing, jitter=jitter
        )
        self._moved = moved
        # What each answer, or refusal, that is to come is about; in their order.
        self._asked: deque[bytes] = deque()

    def names(self) -> list[str]:
        """List the channels that are wanted here."""
        return [channel.name for channel in self._channels.values() if channel.wanted]

    def release(self, name: str) -> bool:
        """Give a channel up for another server to have it; returns whether it had been held.

        subscribe() calls that wait for it return, and find it gone.
        """
        channel = self._channels.get(self._key(name))
        held = channel is not None and channel.held
        self.unsubscribe(name)
        return held

    def adopt(self, name: str) -> None:
        """Hold a channel that was another server's; its messages may have passed by."""
        key = self._key(name)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, name)
        channel.held = True
        channel.deaf = not channel.live
        if self._missing is not None and not channel.live:
            self._missing.add(key)
        self._mark(channel)

    @override
    def received(self, reply: Any) -> None:
        match reply:
            case [b"smessage", key, payload]:
                self.messages += 1
                channel = self._channels.get(key)
                if channel is not None and channel.live:
                    self._handler(channel.name, payload)
            case [b"ssubscribe", bytes(key), _]:
                if not self._asked or self._asked.popleft() != key:
                    raise RedisError("a confirmation that nobody asked for")
                self._confirmed(key)
            case [b"sunsubscribe", bytes(key), _]:
                if self._asked and self._asked[0] == key:
                    self._asked.popleft()
                    self._confirmed(key)
                else:
                    self._gone(key)
            case MovedError():
                self._refused(reply)
            case [b"pong", _] | b"PONG":
                pass
            case Exception():
                raise reply
            case _:
                raise RedisError("not a reply to a subscriber")

    @override
    def lost(self, heard_at: float) -> None:
        self._asked.clear()
        super().lost(heard_at)

    @override
    def _say(self, subscribe: list[bytes], unsubscribe: list[bytes]) -> None:
        commands: list[bytes] = []
        for word, keys in ((b"SSUBSCRIBE", subscribe), (b"SUNSUBSCRIBE", unsubscribe)):
            for key in keys:
                self._asked.append(key)
                commands.append(hiredis.pack_command((word, key)))  # type: ignore[arg-type]
        if commands:
            self.link.write(b"".join(commands))

    def _refused(self, error: MovedError) -> None:
        # A server that gives a slot away says so of each channel, and may have been asked
        # meanwhile to give that channel up: one answer more than there were questions. Those of
        # one slot are all refused, so which it was does not matter.
        if self._asked and key_slot(self._asked[0]) == error.slot_id:
            key = self._asked.popleft()
            self._channels[key].unconfirmed -= 1
            self._unconfirmed -= 1
            self._gone(key)
        self._moved(error)

    def _gone(self, key: bytes) -> None:
        """Take note that the server has not got a channel (any more), unless it was asked again."""
        channel = self._channels.get(key)
        if channel is None or channel.unconfirmed:
            return
        channel.deaf = channel.deaf or channel.live
        channel.sent = channel.live = False
        if channel.wanted:
            # Asked once more, the server says who has it.
            if self._missing is not None:
                self._missing.add(key)
            self._mark(channel)
        else:
            self._forget_unless_wanted(channel)


class ClusterSubscriber:
    """Keeps the cluster's subscriptions equal to what is wanted here; see Subscriber.

    Args:
        cluster: Who has what; somebody has to run it.
        key: Makes a channel's name in Redis of its name here.
        handler: See Subscriber.
        resumed: See Subscriber; also of a channel that has moved.
        timing: How patient it is.
        jitter: See Link.
        everywhere: Have a connection to every server, not only where a channel is wanted.

    Attributes:
        link: All connections; somebody has to run them.
    """

    def __init__(
        self,
        cluster: ClusterMap,
        *,
        key: Callable[[str], bytes],
        handler: MessageHandler,
        resumed: Callable[[str], None] = lambda _name: None,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
        everywhere: bool = True,
    ) -> None:
        self.link = self
        self._cluster = cluster
        self._key = key
        self._handler = handler
        self._resumed = resumed
        self._timing = timing
        self._jitter = jitter
        self._everywhere = everywhere
        self._shards: dict[Node, ShardSubscriber] = {}
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._former_messages = 0
        self._former_reconnects = 0
        self._deaf_before = 0.0
        self._running = False
        cluster.listen(self._changed)

    def start(self) -> None:
        """Begin."""
        self._running = True
        self._changed()

    async def run(self) -> None:
        """Keep the connections, until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            self._running = False
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End; whoever still waits is told."""
        for node in list(self._shards):
            self._remove(node)

    @property
    def ready(self) -> bool:
        """Whether everything that is wanted is subscribed, but for the newest wishes."""
        return self._cluster.complete and all(shard.ready for shard in self._shards.values())

    @property
    def messages(self) -> int:
        """How many messages came."""
        return self._former_messages + sum(shard.messages for shard in self._shards.values())

    @property
    def reconnects(self) -> int:
        """How often a connection was made again, to any of the servers."""
        return self._former_reconnects + sum(
            shard.link.reconnects for shard in self._shards.values()
        )

    @property
    def deaf_seconds(self) -> float:
        """How long in all, in seconds, messages of a server may have passed by; their sum."""
        return self._deaf_before + sum(shard.deaf_seconds for shard in self._shards.values())

    def subscribed(self, name: str) -> bool:
        """See Subscriber."""
        owner = self._cluster.owner(self._key(name))
        shard = None if owner is None else self._shards.get(owner)
        return shard is not None and shard.subscribed(name)

    async def subscribe(self, name: str) -> None:
        """See Subscriber."""
        while True:
            shard = self._shard(name)
            await shard.subscribe(name)
            if shard is self._shard(name):
                return

    def unsubscribe(self, name: str) -> None:
        """See Subscriber."""
        for shard in self._shards.values():
            shard.unsubscribe(name)

    def _shard(self, name: str) -> ShardSubscriber:
        owner = self._cluster.owner(self._key(name))
        if owner is None or not self._running:
            raise BrokerUnavailable("no server is known to have the channel")
        return self._shards.get(owner) or self._add(owner)

    def _add(self, node: Node) -> ShardSubscriber:
        shard = self._shards[node] = ShardSubscriber(
            self._cluster.endpoint(node),
            key=self._key,
            handler=self._handler,
            resumed=self._resumed,
            moved=self._cluster.moved,
            timing=self._timing,
            jitter=self._jitter,
        )
        shard.start()
        self._tasks[node] = asyncio.get_running_loop().create_task(shard.link.run())
        return shard

    def _remove(self, node: Node) -> None:
        shard = self._shards.pop(node)
        self._tasks.pop(node).cancel()
        self._former_messages += shard.messages
        self._former_reconnects += shard.link.reconnects
        shard.close()
        self._deaf_before += shard.deaf_seconds

    def _changed(self) -> None:
        """Draw the consequences of a new map: every channel goes to where its slot is."""
        if not self._running:
            return
        nodes = self._cluster.nodes()
        if self._everywhere:
            for node in nodes - self._shards.keys():
                self._add(node)
        for node, shard in list(self._shards.items()):
            for name in shard.names():
                owner = self._cluster.owner(self._key(name))
                if owner not in (node, None) and shard.release(name):
                    self._shard(name).adopt(name)
        for node in self._shards.keys() - nodes:
            # What no server has now was noted as wanted nowhere else: it stays with this one.
            if not self._shards[node].names():
                self._remove(node)
