"""Whether subscribers got everything, once and in order, by the offsets alone: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Follower:
    """How far one subscriber is in its channel, and what went wrong.

    Attributes:
        last: The offset up to which it has everything, or has been counted as lost.
        lost: Offsets that it never got.
        twice: Publications that it got again, or late.
        told: Times that the server said that it could not recover.
        epoch: Of the channel; empty before the first subscription.
    """

    last: int = 0
    lost: int = 0
    twice: int = 0
    told: int = 0
    epoch: str = ""

    def begin(self, *, offset: int, epoch: str, recovering: bool, recovered: bool) -> None:
        """Take the position with which a subscription begins.

        Args:
            offset: The channel's, before what is still to be recovered.
            epoch: The channel's.
            recovering: It asked for what it missed.
            recovered: It gets it.
        """
        if (recovering and not recovered) or self.epoch not in {"", epoch}:
            self.told += 1
        if not self.epoch:
            self.last = offset
        self.epoch = epoch

    def receive(self, offset: int) -> None:
        """Take a publication."""
        if offset <= self.last:
            self.twice += 1
            return
        self.lost += offset - self.last - 1
        self.last = offset


@dataclass(slots=True)
class Room:
    """What is known of one channel, in one process of the crowd or in all of them.

    Attributes:
        least: The lowest offset at which one of its subscribers is.
        most: The highest.
        lost: By all of its subscribers.
        twice: To all.
        told: All.
        acknowledged: Publications into it.
        subscribers: How many.
    """

    least: int
    most: int
    lost: int
    twice: int
    told: int
    acknowledged: int
    subscribers: int

    @classmethod
    def of(cls, followers: Iterable[Follower], acknowledged: int) -> Room:
        """Sum up; there must be a follower."""
        each = list(followers)
        return cls(
            least=min(one.last for one in each),
            most=max(one.last for one in each),
            lost=sum(one.lost for one in each),
            twice=sum(one.twice for one in each),
            told=sum(one.told for one in each),
            acknowledged=acknowledged,
            subscribers=len(each),
        )

    def plus(self, other: Room) -> Room:
        """Put what two processes know together."""
        mine, others = asdict(self), asdict(other)
        summed = {name: mine[name] + others[name] for name in mine}
        summed["least"] = min(self.least, other.least)
        summed["most"] = max(self.most, other.most)
        return Room(**summed)

    @property
    def incomplete(self) -> bool:
        """Whether a subscriber lacks something, or none of them got what was acknowledged."""
        return bool(self.lost) or self.least < self.most or self.most < self.acknowledged


def together(parts: Iterable[Mapping[str, Room]]) -> dict[str, Room]:
    """Put what all processes know together, by room."""
    rooms: dict[str, Room] = {}
    for part in parts:
        for name, room in part.items():
            rooms[name] = rooms[name].plus(room) if name in rooms else room
    return rooms
