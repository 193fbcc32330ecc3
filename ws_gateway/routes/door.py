"""Who is let in by a handshake, of whatever transport."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Self

from fastapi import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import Scope

from ws_gateway.admission import Pace, UnauthenticatedSockets, retry_after
from ws_gateway.bearer import Admission, OAuth2WebSocketPasswordBearer, Source
from ws_gateway.connection import Connection, DeflatingConnection
from ws_gateway.exceptions import HandshakeRejected
from ws_gateway.handshake import Offer
from ws_gateway.node import Node
from ws_gateway.protocol.codec import Codec
from ws_gateway.routes.handshake_clock import elapsed
from ws_gateway.transport import Transport

RETRY_SECONDS = 5
REFUSALS = ("not_ready", "full", "pace", "user", "address", "unauthenticated")
"""Why the door keeps out whom the token would let in."""


def make_bearer(
    *, query_token: bool, gate: Callable[[Offer], None] | None = None
) -> OAuth2WebSocketPasswordBearer:
    """Make the dependency that reads a handshake's credential, if there is one.

    Args:
        query_token: Accept ``?access_token=``.
        gate: See there.
    """
    return OAuth2WebSocketPasswordBearer(
        tokenUrl="/token",
        scopes={"connect": "open a connection"},
        auto_error=False,
        query_token=query_token,
        gate=gate,
    )


class Entry:
    """A client that was let in; a context, within which it gets its connection or never will.

    Args:
        node: Where its connection will live.
        scope: What it came with (ASGI).
        address: Its own.
        admission: Who it is.
        release: Called when it has said who it is, or will not; None if it has said so.
    """

    __slots__ = ("_address", "_admission", "_node", "_release", "_scope")

    def __init__(
        self,
        node: Node,
        scope: Scope,
        address: str,
        admission: Admission,
        release: Callable[[], None] | None,
    ) -> None:
        self._node = node
        self._scope = scope
        self._address = address
        self._admission = admission
        self._release = release

    def open(self, transport: Transport, codec: Codec, *, emulated: str = "") -> Connection:
        """Make the connection; ``emulated`` as there."""
        release, self._release = self._release, None
        admission = self._admission
        self._node.metrics.handshakes["ok"] += 1
        self._node.metrics.handshake_seconds.observe(elapsed(self._scope))
        kind = DeflatingConnection if transport.deflates else Connection
        return kind(
            transport,
            node=self._node,
            codec=codec,
            credentials=admission.credentials,
            token_allowed=admission.source in (Source.NONE, Source.COOKIE),
            guest_allowed=not admission.bad_cookie,
            frame_pings=admission.native_ping,
            emulated=emulated,
            authenticated=release,
            address=self._address,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Count it no longer, if it got no connection."""
        if self._release is not None:
            self._release()


class Door:
    """Lets clients into a node.

    Args:
        node: Where connections live.
        unauthenticated: Bounds those that bring no credential.
        connection_limit: How many connections the node may have.
        pace: How fast they may come; any if None.
        has_seen: Says whether a token was good here before.

    Attributes:
        refused: How many were kept out, by reason.
    """

    def __init__(
        self,
        node: Node,
        unauthenticated: UnauthenticatedSockets,
        *,
        connection_limit: int,
        pace: Pace | None = None,
        has_seen: Callable[[str], bool] = lambda _token: False,
    ) -> None:
        self.node = node
        self.refused: Counter[tuple[str]] = Counter({(reason,): 0 for reason in REFUSALS})
        self._connection_limit = connection_limit
        self._pace = pace
        self._has_seen = has_seen
        self._unauthenticated = unauthenticated

    def gate(self, offer: Offer) -> None:
        """Keep out who comes in a crowd, before his token is looked at; see the bearer.

        Whether a client will resume its subscriptions it only says once it is inside. What can be
        known here is whether this process has seen its credential before.

        Raises:
            HandshakeRejected: 503.
        """
        if self._pace is None:
            return
        token = offer.token
        try:
            self._pace.check(seen=lambda: token is not None and self._has_seen(token))
        except HandshakeRejected:
            self.refused["pace",] += 1
            raise

    def enter(self, connection: HTTPConnection, admission: Admission) -> Entry:
        """Let a client in, whose credential was read; the caller uses what it gets as a context.

        Raises:
            HTTPException: 403 where guests are not allowed, 429 and 503 where there are too many,
                503 where none may come now.
        """
        client = connection.scope.get("client")
        # Many come from one address, and each connection keeps it.
        address = sys.intern(client[0]) if client else ""
        if not self.node.ready:
            raise self._refusal("not_ready", 503, "not ready, or going away")
        if self.node.connections >= self._connection_limit:
            raise self._refusal("full", 503, "too many connections")
        if self.node.addresses.full(address):
            raise self._refusal("address", 429, "too many connections")
        credentials = admission.credentials
        release = None
        if credentials is not None and not credentials.user and not self.node.guests:
            raise HTTPException(403, "guests are not allowed")
        if credentials is None:
            try:
                self._unauthenticated.admit(address)
            except HandshakeRejected as error:
                self.refused["unauthenticated",] += 1
                raise HTTPException(error.status, error.detail, error.headers) from error
            release = partial(self._unauthenticated.release, address)
        elif not self.node.has_room_for(credentials.user):
            raise self._refusal("user", 429, "too many connections of this user")
        if self._pace is not None:
            self._pace.take()
        return Entry(self.node, connection.scope, address, admission, release)

    def _refusal(self, reason: str, status: int, detail: str) -> HTTPException:
        self.refused[reason,] += 1
        return HTTPException(status, detail, retry_after(RETRY_SECONDS))
