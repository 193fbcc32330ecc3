"""Which connections of this process are subscribed to which channel.

Synchronous and pure: no await, no lock, no metrics.
"""

from __future__ import annotations

from typing import Protocol

from ws_gateway.protocol.codec import Codec
from ws_gateway.protocol.messages import Publication, Push, Reply


class Subscriber(Protocol):
    """Whoever takes the frames of a channel."""

    @property
    def codec(self) -> Codec:
        """The encoding it speaks."""

    def send(self, frame: bytes) -> None:
        """Queue a frame. Must not change the hub: a slow subscriber is closed later."""


class Hub:
    """The registry of subscribers, by codec so that each frame is built once for all of them."""

    def __init__(self) -> None:
        self._channels: dict[str, dict[Codec, set[Subscriber]]] = {}
        self.subscriptions = 0

    def __contains__(self, channel: str) -> bool:
        return channel in self._channels

    def __len__(self) -> int:
        """How many channels have a subscriber here."""
        return len(self._channels)

    def add(self, channel: str, subscriber: Subscriber) -> None:
        """Subscribe; a subscriber is in a channel once."""
        group = self._channels.setdefault(channel, {}).setdefault(subscriber.codec, set())
        if subscriber not in group:
            group.add(subscriber)
            self.subscriptions += 1

    def remove(self, channel: str, subscriber: Subscriber) -> bool:
        """Unsubscribe one that is subscribed, and say whether it was the channel's last."""
        groups = self._channels[channel]
        group = groups[subscriber.codec]
        group.remove(subscriber)
        self.subscriptions -= 1
        if not group:
            del groups[subscriber.codec]
            if not groups:
                del self._channels[channel]
                return True
        return False

    def broadcast(self, channel: str, publication: Publication) -> int:
        """Hand a publication to every subscriber of the channel; returns how many."""
        groups = self._channels.get(channel)
        if groups is None:
            return 0
        count = 0
        reply = Reply(push=Push(channel=channel, pub=publication))
        for codec, group in groups.items():
            frame = codec.encode(reply)
            for subscriber in group:
                subscriber.send(frame)
            count += len(group)
        return count
