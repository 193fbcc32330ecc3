"""The embedded presence: there is one process, and what it says is all there is."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping

from ws_gateway.presence.base import Stats
from ws_gateway.protocol.messages import ClientInfo


class MemoryPresence:
    """Needs nothing and always answers.

    Args:
        users: How many users' last connection is remembered, beside those who are connected.
        clock: Unix time in seconds.
    """

    def __init__(self, *, users: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._max_seen = users
        self._channels: dict[str, dict[str, ClientInfo]] = {}
        self._count = 0
        self._connected: Counter[str] = Counter()
        self._seen: OrderedDict[str, float] = OrderedDict()  # the last one last

    async def start(self) -> None:
        """See Presence."""

    async def stop(self) -> None:
        """See Presence."""
        self._channels.clear()
        self._connected.clear()
        self._count = 0

    def __len__(self) -> int:
        """See Presence."""
        return self._count

    def add(self, channel: str, info: ClientInfo) -> None:
        """See Presence."""
        entries = self._channels.setdefault(channel, {})
        self._count += info.client not in entries
        entries[info.client] = info

    def remove(self, channel: str, client: str) -> None:
        """See Presence."""
        entries = self._channels.get(channel, {})
        if entries.pop(client, None) is None:
            return
        self._count -= 1
        if not entries:
            del self._channels[channel]

    def hand_over(self, channel: str) -> None:
        """See Presence."""

    async def members(self, channel: str, limit: int) -> Mapping[str, ClientInfo] | None:
        """See Presence."""
        entries = self._channels.get(channel, {})
        return dict(entries) if len(entries) <= limit else None

    async def stats(self, channel: str) -> Stats:
        """See Presence."""
        entries = self._channels.get(channel, {})
        return Stats(len(entries), len({info.user for info in entries.values()}))

    def arrive(self, user: str) -> None:
        """See Presence."""
        if self._max_seen:
            self._connected[user] += 1

    def depart(self, user: str) -> None:
        """See Presence."""
        if not self._max_seen or not self._connected[user]:
            return
        self._connected[user] -= 1
        if self._connected[user]:
            return
        del self._connected[user]
        self._seen[user] = self._clock()
        self._seen.move_to_end(user)
        if len(self._seen) > self._max_seen:
            self._seen.popitem(last=False)

    async def last_seen(self, user: str) -> float | None:
        """See Presence."""
        return self._clock() if user in self._connected else self._seen.get(user)
