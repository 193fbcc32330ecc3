"""Requests travel between gateways through Redis pub/sub, one channel a node."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re

from ws_gateway.broker.redis_subscriber import Subscriber
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.fallbacks.emulation_request import EmulatedCommands
from ws_gateway.fallbacks.relay import RelayHandler, read_request, write_request
from ws_gateway.redis_commands import Commands
from ws_gateway.redis_link import Endpoint, Timing

logger = logging.getLogger(__name__)

PREFIX = b"drawbridge:1:control:emulation:"
"""Of the channels' names, before the node's; the 1 is the version of names."""

# The name is the client's word, and becomes a part of a channel's.
_NODE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class RedisRelay:
    """See Relay.

    A connection to Redis of its own listens, so that nobody's publications wait behind this; what
    is sent goes with the publications. Who may write to Redis may speak for any session, if he
    knows it. What does not parse is counted and dropped.

    Args:
        endpoint: Where Redis is.
        commands: The connection that sends.
        timing: How patient it is.

    Attributes:
        malformed: How many messages were dropped.
    """

    def __init__(
        self, endpoint: Endpoint, *, commands: Commands, timing: Timing | None = None
    ) -> None:
        self.malformed = 0
        self._commands = commands
        self._handler: RelayHandler | None = None
        self._node = ""
        self._work: list[asyncio.Task[None]] = []
        self._subscriber = Subscriber(
            endpoint, prefix=PREFIX, handler=self._take, timing=timing or Timing()
        )

    async def start(self, node: str, handler: RelayHandler) -> None:
        """See Relay. Does not wait for Redis: it may come later."""
        self._node = node
        self._handler = handler
        self._subscriber.start()
        self._work = [
            asyncio.create_task(self._subscriber.link.run()),
            asyncio.create_task(self._listen()),
        ]

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(BrokerUnavailable):  # each attempt waits for a while itself
                await self._subscriber.subscribe(self._node)
                return

    async def stop(self) -> None:
        """See Relay."""
        self._handler = None
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self._work = []
        self._subscriber.close()

    @property
    def ready(self) -> bool:
        """See Relay."""
        return self._subscriber.subscribed(self._node)

    async def forward(self, request: EmulatedCommands, origin: str | None) -> bool:
        """See Relay."""
        if _NODE.fullmatch(request.node) is None:
            return False
        channel = PREFIX + request.node.encode()
        receivers = await self._commands.request(
            b"PUBLISH", channel, write_request(request, origin)
        )
        return bool(int(receivers))

    def _take(self, _node: str, payload: bytes) -> None:
        try:
            request, origin = read_request(payload)
        except ValueError:
            self.malformed += 1
            return
        if self._handler is None:
            return
        try:
            self._handler(request, origin)
        except Exception:
            # One that fails must not take the connection of all others with it.
            logger.exception("emulation request failed")
