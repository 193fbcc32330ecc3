"""What is known of one issuer's revocation log, and since when."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from math import inf

from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import RevocationsUnavailable, SessionEnded, TokenRevoked
from ws_gateway.revocations.deny_set import DenySet, Kind, Revocation

logger = logging.getLogger(__name__)

RevocationHandler = Callable[[Sequence[Revocation]], None]
"""Takes entries that were not known before; synchronous and quick, must not raise."""


class RevocationLog:
    """One issuer's revocations, as far as they were read.

    A reader reports what it read (:meth:`add`), that it has read everything there was at a moment
    (:meth:`read`), and that it has to begin anew or cannot read (:meth:`lost`). Nothing that was
    read is forgotten before its time, whatever becomes of the log.

    Args:
        issuer: Whose.
        stale_seconds: How long ago the log may have been read for a token to be judged.
        clock: Unix time in seconds.
        monotonic: A clock that never goes back, in seconds.

    Attributes:
        issuer: Whose.
        on_revoked: Told the entries that are new, after the deny set knows them.
        readable: Whether the last attempt to read it was good, and everything is known.
        entries: How many entries were read, each time anew.
        malformed: How many were passed over, because they could not be understood.
    """

    def __init__(
        self,
        issuer: str,
        *,
        stale_seconds: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.on_revoked: RevocationHandler | None = None
        self.readable = False
        self.entries = 0
        self.malformed = 0
        self._denied = DenySet()
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._began = monotonic()
        self._read_at = -inf
        self._complete = False
        self._outage_logged = False

    def __len__(self) -> int:
        """How many rules are in force."""
        return len(self._denied)

    # What the reader says

    def now(self) -> float:
        """Return the time that :meth:`read` is told in."""
        return self._monotonic()

    def add(self, revocations: Iterable[Revocation | None]) -> None:
        """Deny what these entries name; None is one that could not be understood."""
        now = self._clock()
        new: list[Revocation] = []
        for revocation in revocations:
            self.entries += 1
            if revocation is None:
                self.malformed += 1
            elif self._denied.add(revocation, now):
                new.append(revocation)
        if new and self.on_revoked is not None:
            self.on_revoked(new)

    def read(self, at: float) -> None:
        """Note that everything is known that was in the log at ``at``, by :meth:`now`."""
        if not self.readable:
            fields = {"issuer": self.issuer, "rules": len(self)}
            logger.info("revocation log is read", extra=fields)
            self._outage_logged = False
        self._read_at = max(self._read_at, at)
        self._complete = self.readable = True
        self._denied.expire(self._clock())

    def lost(self, reason: str, *, complete: bool = True) -> None:
        """Note that it cannot be read now; an outage is one line of the log, however long.

        Args:
            reason: Why, in words without secrets.
            complete: What was known is all there was; false if that is no longer sure.
        """
        if not self._outage_logged:
            fields = {"issuer": self.issuer, "reason": reason}
            logger.warning("revocation log is not read", extra=fields)
            self._outage_logged = True
        self.readable = False
        self._complete = self._complete and complete

    # What follows

    @property
    def fresh(self) -> bool:
        """Whether tokens can be judged by it."""
        return self._monotonic() - self._read_at <= self._stale_seconds

    @property
    def ready(self) -> bool:
        """Whether new connections should come: it is fresh, and not being read from the start."""
        return self._complete and self.fresh

    @property
    def lag_seconds(self) -> float:
        """How long ago it was known as a whole; since the start if it never was."""
        return self._monotonic() - max(self._read_at, self._began)

    def find(self, credentials: Credentials) -> Kind | None:
        """Say by what a token is denied, None if it is good as far as is known."""
        return self._denied.find(credentials)

    def check(self, credentials: Credentials) -> None:
        """Let a good token pass.

        Raises:
            TokenRevoked: It was revoked, or its key; another one of the session may be good.
            SessionEnded: Its session has ended, or its user or client was shut out.
            RevocationsUnavailable: The log was not read for too long, so nobody can tell.
        """
        kind = self._denied.find(credentials)
        if kind is not None:
            raise TokenRevoked if kind.renewable else SessionEnded
        if not self.fresh:
            raise RevocationsUnavailable(f"the revocations of {self.issuer} cannot be read")
