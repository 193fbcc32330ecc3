"""Which connections of this process belong to which user.

Synchronous and pure: no await, no lock, no metrics.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar

ConnectionT = TypeVar("ConnectionT")


class UserIndex(Generic[ConnectionT]):
    """Connections by user. Who has one connection, as most have, costs no set."""

    def __init__(self) -> None:
        self._one: dict[str, ConnectionT] = {}
        self._several: dict[str, set[ConnectionT]] = {}

    def __len__(self) -> int:
        """How many users are connected."""
        return len(self._one) + len(self._several)

    def __contains__(self, user: str) -> bool:
        return user in self._one or user in self._several

    def add(self, user: str, connection: ConnectionT) -> None:
        """Note that a connection is the user's; noting it twice changes nothing."""
        several = self._several.get(user)
        if several is not None:
            several.add(connection)
            return
        other = self._one.setdefault(user, connection)
        if other is not connection:
            del self._one[user]
            self._several[user] = {other, connection}

    def remove(self, user: str, connection: ConnectionT) -> None:
        """Forget a connection of the user, if it is one."""
        if self._one.get(user) is connection:
            del self._one[user]
            return
        several = self._several.get(user)
        if several is None:
            return
        several.discard(connection)
        if len(several) == 1:
            del self._several[user]
            self._one[user] = several.pop()

    def count(self, user: str) -> int:
        """Return how many connections the user has."""
        several = self._several.get(user)
        return len(several) if several is not None else int(user in self._one)

    def connections(self, user: str) -> Collection[ConnectionT]:
        """Return the user's connections, as they are at this moment."""
        several = self._several.get(user)
        if several is not None:
            return tuple(several)
        return (self._one[user],) if user in self._one else ()
