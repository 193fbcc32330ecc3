"""How many sockets may be open, in all and from one address, and how fast they may come."""

from __future__ import annotations

import random
import resource
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address
from math import ceil

from ws_gateway.exceptions import HandshakeRejected

# Listeners, Redis, logs, probes, and handshakes that are to hear that there is no room.
_OTHER_FILES = 256
# No process has memory for more.
_MANY = 1_000_000
_LONG_SECONDS = 10
# The part of a burst that newcomers leave to those who come back.
_RESERVE = 0.2
_LONGEST_WAIT_SECONDS = 30


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


def retry_after(seconds: int) -> dict[str, str]:
    """Say when to come back: about then, so that those who were refused together are not again.

    Args:
        seconds: In the middle; from half to one and a half of it is said.
    """
    wait = random.randint(ceil(seconds / 2), seconds + seconds // 2)  # noqa: S311 - spreads load, guards nothing
    return {"Retry-After": str(wait)}


def origin_of(address: str) -> str:
    """Name whoever an address is given to: with IPv6 that is a network of 64 bits.

    Args:
        address: Of a peer, as text; what is none stands for itself.
    """
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


class Pace:
    """How fast connections may be opened, so that a storm of them leaves time for those there are.

    A bucket that fills at an even pace, and from which each connection takes one. Its last part is
    for credentials that were seen before: when too many come, who comes back goes before who is
    new. Only what opens a connection counts, so that refused strangers cannot use it up.

    Args:
        per_second: Connections a second in the long run; above 0.
        burst: Connections at once.
        clock: Seconds that never go back.
    """

    def __init__(self, *, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._interval = 1 / per_second
        self._burst = burst
        self._reserve = int(burst * _RESERVE)
        self._clock = clock
        self._level = float(burst)
        self._filled_at = clock()
        self._turn = self._filled_at

    def check(self, *, seen: Callable[[], bool]) -> None:
        """See whether a connection may be opened now; asked before its token costs anything.

        Args:
            seen: Says whether its credential was seen before; asked only if that matters.

        Raises:
            HandshakeRejected: 503, with a time to come back at that is another's for each.
        """
        level = self._fill()
        if level >= 1 + self._reserve or (level >= 1 and seen()):
            return
        raise HandshakeRejected(
            503, "too many connections at once", {"Retry-After": str(self._wait())}
        )

    def take(self) -> None:
        """Count a connection that was opened."""
        self._level = self._fill() - 1

    def _fill(self) -> float:
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._filled_at) / self._interval)
        self._filled_at = now
        return self._level

    def _wait(self) -> int:
        """Give the next place in the queue that those who are refused would stand in."""
        now = self._filled_at
        wait = max(self._turn, now) + self._interval - now
        if wait > _LONGEST_WAIT_SECONDS:
            return random.randint(_LONGEST_WAIT_SECONDS // 2, _LONGEST_WAIT_SECONDS)  # noqa: S311
        self._turn = now + wait
        return max(1, ceil(wait))


class AddressCount:
    """How many connections each address has; nothing is counted where there is no limit.

    Args:
        limit: Of one address, for IPv6 of one network; 0 for none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many addresses there are."""
        return len(self._counts)

    def full(self, address: str) -> bool:
        """Say whether an address has as many as it may."""
        return bool(self._limit) and self._counts[origin_of(address)] >= self._limit

    def enter(self, address: str) -> None:
        """Count one more."""
        if self._limit:
            self._counts[origin_of(address)] += 1

    def leave(self, address: str) -> None:
        """Count one less."""
        if self._limit:
            origin = origin_of(address)
            self._counts[origin] -= 1
            if not self._counts[origin]:
                del self._counts[origin]


class UnauthenticatedSockets:
    """Counts them, per address and in all; back at zero when the last has gone.

    Args:
        limit: In this process.
        limit_per_address: From one address, for IPv6 from one network; above 0.
    """

    def __init__(self, *, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._by_address = AddressCount(limit_per_address)
        self._count = 0

    def __len__(self) -> int:
        """How many there are now."""
        return self._count

    def admit(self, address: str) -> None:
        """Count one more.

        Raises:
            HandshakeRejected: 429 for an address with too many, 503 where the process has.
        """
        if self._by_address.full(address):
            raise HandshakeRejected(429, "Too many connections", retry_after(_LONG_SECONDS))
        if self._count >= self._limit:
            raise HandshakeRejected(503, "Too many connections", retry_after(_LONG_SECONDS))
        self._by_address.enter(address)
        self._count += 1

    def release(self, address: str) -> None:
        """Count one less: it has authenticated, or gone."""
        self._count -= 1
        self._by_address.leave(address)
