"""How many commands a second a connection, and a user with all of his, may send.

One number says all: the moment at which everything sent so far would have been sent at the even
pace. Nothing runs when nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from msgspec import Struct


class Verdict(Enum):
    """What to do with one command."""

    GO_ON = "go on"
    REFUSE = "refuse"
    CLOSE = "close"


_GO_ON = Verdict.GO_ON  # looking it up in the enumeration costs as much as the arithmetic


@dataclass(frozen=True, slots=True)
class Rate:
    """A pace, and how far one may be ahead of it.

    Attributes:
        per_second: Commands a second in the long run; 0 for no limit.
        burst: Commands at once.
        interval: Seconds from one command to the next at the even pace.
        refuse_past: How many seconds one may be ahead of it before commands are refused.
        close_past: ... and before the connection is closed.
    """

    per_second: float = 0
    burst: int = 1
    # One number for all buckets: a connection has two.
    interval: float = field(init=False, repr=False)
    refuse_past: float = field(init=False, repr=False)
    close_past: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        interval = 1 / self.per_second if self.per_second else 0.0
        # Half a command of slack, so that rounding never refuses the last of a burst.
        for name, value in (
            ("interval", interval),
            ("refuse_past", interval * (self.burst + 0.5)),
            ("close_past", interval * (2 * self.burst + 0.5)),
        ):
            object.__setattr__(self, name, value)

    def bucket(self) -> Bucket | None:
        """Make a bucket for one sender, None where there is no limit."""
        return Bucket(self) if self.per_second else None


class Bucket(Struct, gc=False, eq=False):
    """What one sender has sent of late.

    A refused command counts as well: who goes on above the pace is first refused, and closed once
    another burst was refused. Who waits is free again.

    There are two for each connection, so that it is no ordinary object: those are larger by what
    the collector of cycles needs.

    Attributes:
        rate: The pace.
        ahead_until: When everything that was sent would have been sent at that.
    """

    rate: Rate
    ahead_until: float = -inf

    def take(self, now: float) -> Verdict:
        """Count a command, and judge it."""
        rate, ahead_until = self.rate, self.ahead_until
        if ahead_until < now:  # noqa: PLR1730 - max() costs as much as all the rest
            ahead_until = now
        self.ahead_until = ahead_until = ahead_until + rate.interval
        ahead = ahead_until - now
        if ahead <= rate.refuse_past:
            return _GO_ON
        return Verdict.REFUSE if ahead <= rate.close_past else Verdict.CLOSE


UNLIMITED = Rate()


class _Shared(Bucket, gc=False, eq=False):
    """One of several connections, which it counts."""

    connections: int = 0


class UserBuckets:
    """One bucket for each user who is connected here; gone with his last connection.

    Args:
        rate: The pace of each.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: dict[str, _Shared] = {}

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._buckets)

    def enter(self, user: str) -> Bucket | None:
        """Count a connection of a user.

        Returns:
            What all his connections share; None where there is no limit, and for guests, who are
            strangers to each other.
        """
        if not user or not self._rate.per_second:
            return None
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = _Shared(self._rate)
        bucket.connections += 1
        return bucket

    def leave(self, user: str) -> None:
        """Count one less, of a user for whom ``enter`` returned a bucket."""
        bucket = self._buckets[user]
        bucket.connections -= 1
        if not bucket.connections:
            del self._buckets[user]
