"""Who of this process is in which channel, and telling all processes who comes and who goes.

Presence hears it first, then the others in the channel, over the same way in the same order. What
happens in one turn of the loop is told together; and no more is on its way at once than a batch,
for when thousands leave in one moment nothing else is to wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from ws_gateway.broker.base import Broker, Change
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.presence.base import Presence
from ws_gateway.protocol.messages import ClientInfo, Join, Leave

_BATCH = 200
_MAX_WAITING = 100_000


class Attendance:
    """What the node says of its subscriptions to presence and to the other subscribers.

    Joins and leaves are for who is looking, not for the books: while the broker is away they are
    dropped, and presence says afterwards who is there.

    Args:
        presence: Keeps who is there.
        broker: Carries the news.
        loop: The process's event loop.

    Attributes:
        dropped: Joins and leaves that were not told.
    """

    def __init__(
        self, *, presence: Presence, broker: Broker, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.dropped = 0
        self._presence = presence
        self._broker = broker
        self._loop = loop
        self._announced: dict[str, dict[str, ClientInfo]] = {}
        self._waiting: deque[tuple[str, Change]] = deque()
        self._telling: asyncio.Task[None] | None = None

    def enter(self, channel: str, info: ClientInfo, *, present: bool, announced: bool) -> None:
        """Note that a connection is in a channel.

        It is told no earlier than in the next turn of the loop, after the reply that the caller
        sends in this one.

        Args:
            channel: Which.
            info: What others see of it.
            present: Presence has it.
            announced: Who wishes it is told that it joined, and later that it left.
        """
        if present:
            self._presence.add(channel, info)
        if announced:
            self._announced.setdefault(channel, {})[info.client] = info
            self._tell(channel, Join(info=info))

    def leave(self, channel: str, client: str) -> None:
        """Note that it is there no more, if it was."""
        self._presence.remove(channel, client)
        there = self._announced.get(channel)
        if there is None or (info := there.pop(client, None)) is None:
            return
        if not there:
            del self._announced[channel]
        self._tell(channel, Leave(info=info))

    async def finish(self, seconds: float) -> None:
        """Wait until all is told, for a limited time; then give up the rest."""
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=seconds)
        if self._telling is not None:
            self._telling.cancel()
        self._waiting.clear()

    def _tell(self, channel: str, change: Change) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append((channel, change))
        if self._telling is None:
            self._telling = self._loop.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        try:
            while self._waiting:
                batch: dict[str, list[Change]] = {}
                for _ in range(min(_BATCH, len(self._waiting))):
                    channel, change = self._waiting.popleft()
                    batch.setdefault(channel, []).append(change)
                for channel in batch:
                    self._presence.hand_over(channel)
                await asyncio.gather(*(self._announce(*one) for one in batch.items()))
        finally:
            self._telling = None

    async def _announce(self, channel: str, changes: Sequence[Change]) -> None:
        try:
            await self._broker.announce(channel, changes)
        except BrokerUnavailable:
            self.dropped += len(changes)
