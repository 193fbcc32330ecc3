"""The end of connections whose tokens were revoked, a few in each turn of the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from ws_gateway.codes import DisconnectCode
from ws_gateway.credentials import Credentials
from ws_gateway.revocations.deny_set import Kind

logger = logging.getLogger(__name__)

# What one turn may do. A close costs about 50 times what a look costs.
CLOSES_PER_TURN = 40
LOOKS_PER_TURN = 2000


class Evictable(Protocol):
    """A connection, as far as it is known here.

    Attributes:
        closed: It has ended.
    """

    closed: bool

    @property
    def credentials(self) -> Credentials | None:
        """Whose it is; None if nobody has said so yet."""

    def disconnect(self, code: DisconnectCode, detail: str = "") -> None:
        """End the connection; must not wait."""


class Eviction:
    """Looks through connections and closes those whose tokens are denied.

    Who asks says where to look, not what for: the deny set is asked about each connection when
    its turn comes, so that wishes can be merged and none is waiting twice. What a user has is
    looked through before what all have.

    Args:
        everyone: All connections, by id.
        of_user: Finds the connections that have said whose they are.
        revoked: Says by what credentials are denied.
        call_soon: Calls back in the next turn of the event loop.

    Attributes:
        closed: How many connections were closed.
    """

    def __init__(
        self,
        *,
        everyone: Mapping[str, Evictable],
        of_user: Callable[[str], Collection[Evictable]],
        revoked: Callable[[Credentials], Kind | None],
        call_soon: Callable[[Callable[[], object]], object],
    ) -> None:
        self.closed = 0
        self._everyone = everyone
        self._of_user = of_user
        self._revoked = revoked
        self._call_soon = call_soon
        self._wanted: dict[str, None] = {}
        self._all_wanted = False
        self._found: Iterator[Evictable] = iter(())
        self._all: Iterator[Evictable] = iter(())
        self._scheduled = False

    def __len__(self) -> int:
        """How many users wait to be looked through."""
        return len(self._wanted)

    def look_at(self, users: Iterable[str] | None) -> None:
        """Look through the connections of these users, or of all if None."""
        if users is None:
            self._all_wanted = True
        else:
            # Who is not connected now will be judged at the door.
            self._wanted.update((user, None) for user in users if self._of_user(user))
        self._schedule()

    def judge(self, connection: Evictable) -> DisconnectCode | None:
        """Say with which code a connection has to end, None if it may stay."""
        credentials = connection.credentials
        kind = None if credentials is None or connection.closed else self._revoked(credentials)
        if kind is None:
            return None
        return DisconnectCode.EXPIRED if kind.renewable else DisconnectCode.INVALID_TOKEN

    def close(self, connection: Evictable, code: DisconnectCode) -> None:
        """End a connection that was judged."""
        if connection.closed:
            return
        self.closed += 1
        try:
            connection.disconnect(code, "revoked")
        except Exception:
            # One that fails must not keep the others open.
            logger.exception("connection not closed")

    def _schedule(self) -> None:
        if not self._scheduled and (self._wanted or self._all_wanted):
            self._scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        closes = 0
        for _ in range(LOOKS_PER_TURN):
            connection = self._next()
            if connection is None:
                self._scheduled = False
                return
            code = self.judge(connection)
            if code is None:
                continue
            self.close(connection, code)
            closes += 1
            if closes == CLOSES_PER_TURN:
                break
        self._call_soon(self._turn)

    def _next(self) -> Evictable | None:
        """Return the next connection to look at, None if there is no more."""
        connection = next(self._found, None)
        if connection is None and self._wanted:
            users, self._wanted = self._wanted, {}
            self._found = chain.from_iterable(map(self._of_user, users))
            connection = next(self._found, None)
        if connection is None:
            connection = next(self._all, None)
        if connection is None and self._all_wanted:
            self._all_wanted = False
            self._all = iter(tuple(self._everyone.values()))
            connection = next(self._all, None)
        return connection
