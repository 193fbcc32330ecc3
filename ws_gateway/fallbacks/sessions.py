"""The connections of this process whose commands come by requests of their own."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from ws_gateway.fallbacks.response_transport import ResponseTransport

_SESSION_BYTES = 16


class _Session(NamedTuple):
    transport: ResponseTransport
    kind: str
    origin: str | None


class EmulatedSessions:
    """Finds a connection by its session, for those who came from the same origin.

    A session is 128 random bits that only its client is told. It is good for the page's origin
    that opened it and no other, and only as long as its response.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._kinds: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sessions)

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many there are of each kind of transport."""
        return self._kinds

    def add(self, transport: ResponseTransport, *, kind: str, origin: str | None) -> str:
        """Begin a session; returns its id."""
        session = secrets.token_urlsafe(_SESSION_BYTES)
        self._sessions[session] = _Session(transport, kind, origin)
        self._kinds[kind] += 1
        return session

    def remove(self, session: str) -> None:
        """End a session."""
        ended = self._sessions.pop(session, None)
        if ended is not None:
            self._kinds[ended.kind] -= 1

    def find(self, session: str, origin: str | None) -> ResponseTransport | None:
        """Return the transport of a session, None where this origin has no such session."""
        found = self._sessions.get(session)
        if found is None or found.origin != origin or found.transport.ending:
            return None
        return found.transport
