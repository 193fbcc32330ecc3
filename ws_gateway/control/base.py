"""What carries control messages promises; the contract suite holds every implementation to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Receiver = Callable[[bytes], None]
"""Takes one message; synchronous and quick, must not raise."""


class Bus(Protocol):
    """Carries messages between the nodes: to all of them, the sender among them, or to one.

    A message reaches a node once or not at all: nothing is kept for one that is away.
    """

    async def start(self, node: str, receiver: Receiver) -> None:
        """Begin to take what is for all, and what is for this node."""

    async def stop(self) -> None:
        """End; the receiver is not called any more."""

    def ready(self) -> bool:
        """Whether messages reach this node."""

    def tell_all(self, message: bytes) -> Awaitable[int]:
        """Send to every node; returns how many there are.

        Raises:
            BrokerUnavailable: It was not acknowledged.
        """

    def tell(self, node: str, message: bytes) -> Awaitable[bool]:
        """Send to one node; returns whether there is such a one.

        Raises:
            BrokerUnavailable: It was not acknowledged.
        """
