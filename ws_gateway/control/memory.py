"""The embedded bus: there is one node, and what it says it says to itself."""

from __future__ import annotations

from ws_gateway.control.base import Receiver
from ws_gateway.exceptions import BrokerUnavailable


class MemoryBus:
    """Delivers before it returns; needs nothing and is always ready."""

    def __init__(self) -> None:
        self._node = ""
        self._receiver: Receiver | None = None

    async def start(self, node: str, receiver: Receiver) -> None:
        """See Bus."""
        self._node = node
        self._receiver = receiver

    async def stop(self) -> None:
        """See Bus."""
        self._receiver = None

    def ready(self) -> bool:
        """See Bus."""
        return self._receiver is not None

    async def tell_all(self, message: bytes) -> int:
        """See Bus."""
        if self._receiver is None:
            raise BrokerUnavailable
        self._receiver(message)
        return 1

    async def tell(self, node: str, message: bytes) -> bool:
        """See Bus."""
        if self._receiver is None:
            raise BrokerUnavailable
        if node != self._node:
            return False
        self._receiver(message)
        return True
