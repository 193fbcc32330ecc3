"""The embedded broker: publications stay in this process."""

from __future__ import annotations

from ws_gateway.broker.base import Handler, Published
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import Publication


class MemoryBroker:
    """Delivers before ``publish`` returns; needs nothing and is always ready."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._channels: set[str] = set()

    async def start(self, handler: Handler) -> None:
        """See Broker."""
        self._handler = handler

    async def stop(self) -> None:
        """See Broker."""
        self._handler = None
        self._channels.clear()

    def subscribed(self, channel: str) -> bool:
        """See Broker."""
        return channel in self._channels

    async def subscribe(self, channel: str) -> None:
        """See Broker."""
        self._channels.add(channel)

    def unsubscribe(self, channel: str) -> None:
        """See Broker."""
        self._channels.discard(channel)

    async def publish(self, channel: str, publication: Publication) -> Published:
        """See Broker."""
        if self._handler is None:
            raise BrokerUnavailable
        if channel not in self._channels:
            return Published(offset=0, epoch="", receivers=0)
        self._handler(channel, publication)
        return Published(offset=0, epoch="", receivers=1)

    def ready(self) -> bool:
        """See Broker."""
        return self._handler is not None
