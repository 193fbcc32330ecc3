"""The bus between processes: messages travel through channels of Redis's pub/sub.

Its subscriptions have a connection of their own. The broker's is full of publications when a
gateway is busy, and is cut when it cannot keep up, which is when an operator wants to be heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from ws_gateway.broker.redis_topology import Topology
from ws_gateway.control.base import Receiver
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_commands import Requests

logger = logging.getLogger(__name__)

PREFIX = b"drawbridge:1:control:"
"""Of every channel's name; the 1 is the version of names."""

# In a cluster all are in one slot, so that one server has them.
_SHARDED_PREFIX = b"drawbridge:1:{control}:"
_ALL = "all"
_NODE = "node:"
_RETRY_SECONDS = 0.2


class RedisBus:
    """Carries control messages through Redis; who may write there is for its ACL to say.

    Args:
        redis: Where and how.
        commands: The connection that publishes; the broker's.
    """

    def __init__(self, redis: Topology, commands: Requests) -> None:
        self._commands = commands
        self._publish_word = b"SPUBLISH" if redis.sharded else b"PUBLISH"
        self._key = _sharded_channel if redis.sharded else _channel
        self._names: tuple[str, ...] = ()
        self._receiver: Receiver | None = None
        self._subscriber = redis.subscriber(key=self._key, handler=self._receive, everywhere=False)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, node: str, receiver: Receiver) -> None:
        """See Bus. Does not wait for Redis, which may come later."""
        self._names = (_ALL, _NODE + node)
        self._receiver = receiver
        self._subscriber.start()
        self._tasks = [
            asyncio.create_task(self._subscriber.link.run()),
            *(asyncio.create_task(self._subscribe(name)) for name in self._names),
        ]

    async def stop(self) -> None:
        """See Bus."""
        self._receiver = None
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self._subscriber.close()

    def ready(self) -> bool:
        """See Bus."""
        return bool(self._names) and all(map(self._subscriber.subscribed, self._names))

    async def tell_all(self, message: bytes) -> int:
        """See Bus."""
        return await self._publish(_ALL, message)

    async def tell(self, node: str, message: bytes) -> bool:
        """See Bus."""
        return await self._publish(_NODE + node, message) > 0

    async def _publish(self, name: str, message: bytes) -> int:
        return int(await self._commands.request(self._publish_word, self._key(name), message))

    async def _subscribe(self, name: str) -> None:
        # Once it has been confirmed, the subscriber keeps it through any loss by itself.
        while True:
            with contextlib.suppress(BrokerUnavailable):
                await self._subscriber.subscribe(name)
                if self._subscriber.subscribed(name):
                    return
            await asyncio.sleep(_RETRY_SECONDS)

    def _receive(self, _name: str, message: bytes) -> None:
        if self._receiver is None:
            return
        try:
            self._receiver(message)
        except Exception:
            # One that fails must not take the connection with it.
            logger.exception("control message not taken")


def _channel(name: str) -> bytes:
    return PREFIX + name.encode()


def _sharded_channel(name: str) -> bytes:
    return _SHARDED_PREFIX + name.encode()
