"""What a broker promises; the contract suite holds every implementation to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ws_gateway.protocol.messages import Publication

Handler = Callable[[str, Publication], None]
"""Takes (channel, publication); synchronous and quick, must not raise."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication.

    Attributes:
        offset: Its place in the channel's stream, from 1; 0 where the channel has no history.
        epoch: The stream's epoch; empty where the channel has no history.
        receivers: How many processes had a subscriber to hand it to.
    """

    offset: int
    epoch: str
    receivers: int


class Broker(Protocol):
    """Carries publications between the processes that have subscribers for them.

    Publications of one channel reach every handler in the order in which ``publish`` accepted
    them, each once; nothing is delivered to a process that is not subscribed.
    """

    async def start(self, handler: Handler) -> None:
        """Begin; ``handler`` is called for every publication in a subscribed channel."""

    async def stop(self) -> None:
        """End; the handler is not called any more."""

    def subscribed(self, channel: str) -> bool:
        """Whether publications of the channel reach this process now."""

    def subscribe(self, channel: str) -> Awaitable[None]:
        """Ask for a channel's publications; done when every later one will be delivered.

        Idempotent. A subscription may be lost again before the caller resumes (another's
        unsubscribe), so callers ask :meth:`subscribed` afterwards.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """

    def unsubscribe(self, channel: str) -> None:
        """Give a channel up; takes effect in the order of calls, and never fails."""

    def publish(self, channel: str, publication: Publication) -> Awaitable[Published]:
        """Number, keep and deliver a publication in one atomic step.

        Raises:
            BrokerUnavailable: It was not accepted; nothing was delivered by us.
        """

    def ready(self) -> bool:
        """Whether publications flow."""
