"""What was granted for the subscriptions of one connection, and when each must end."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ws_gateway.credentials import SubscriptionGrant


@dataclass(slots=True)
class _Granted:
    grant: SubscriptionGrant
    ends_at: float
    server_side: bool


class SubscriptionGrants:
    """Grants by channel; most connections have none, and then none of these.

    Attributes:
        next_end: When the first of them ends, on the caller's clock.
    """

    __slots__ = ("_granted", "next_end")

    def __init__(self) -> None:
        self._granted: dict[str, _Granted] = {}
        self.next_end = inf

    def __len__(self) -> int:
        """How many there are."""
        return len(self._granted)

    def put(
        self, channel: str, grant: SubscriptionGrant, *, ends_at: float, server_side: bool
    ) -> None:
        """Note what a subscription was granted, in place of what it was granted before."""
        self._granted[channel] = _Granted(grant, ends_at, server_side)
        self._update()

    def find(self, channel: str) -> SubscriptionGrant | None:
        """Return what a subscription was granted, None if nothing in particular."""
        granted = self._granted.get(channel)
        return None if granted is None else granted.grant

    def is_server_side(self, channel: str) -> bool:
        """Whether the server subscribed the client to a channel that has a grant."""
        granted = self._granted.get(channel)
        return granted is not None and granted.server_side

    def remove(self, channel: str) -> None:
        """Forget a subscription."""
        if self._granted.pop(channel, None) is not None:
            self._update()

    def ended(self, now: float) -> list[str]:
        """List the channels whose time is over."""
        if now < self.next_end:
            return []
        return [channel for channel, granted in self._granted.items() if now >= granted.ends_at]

    def _update(self) -> None:
        self.next_end = min((granted.ends_at for granted in self._granted.values()), default=inf)
