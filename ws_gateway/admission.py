"""How many sockets may be open: in all, and of those that have not said who they are."""

from __future__ import annotations

import resource
from collections import Counter

from ws_gateway.exceptions import HandshakeRejected

# Listeners, Redis, logs, probes, and handshakes that are to hear that there is no room.
_OTHER_FILES = 256
# No process has memory for more.
_MANY = 1_000_000


def connection_limit(chosen: int) -> int:
    """Return how many connections this process may have.

    Args:
        chosen: By the settings; 0 for as many as it may open files.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return chosen or _MANY
    room = max(1, files - _OTHER_FILES)
    return min(chosen, room) if chosen else room


class UnauthenticatedSockets:
    """Counts them, per address and in all; back at zero when the last has gone.

    Args:
        limit: In this process.
        limit_per_address: From one address.
    """

    def __init__(self, *, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._by_address: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        """How many there are now."""
        return self._count

    def admit(self, address: str) -> None:
        """Count one more.

        Raises:
            HandshakeRejected: 429 for an address with too many, 503 where the process has.
        """
        if self._by_address[address] >= self._limit_per_address:
            raise HandshakeRejected(429, "Too many connections", {"Retry-After": "10"})
        if self._count >= self._limit:
            if not self._by_address[address]:
                del self._by_address[address]
            raise HandshakeRejected(503, "Too many connections", {"Retry-After": "10"})
        self._by_address[address] += 1
        self._count += 1

    def release(self, address: str) -> None:
        """Count one less: it has authenticated, or gone."""
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
