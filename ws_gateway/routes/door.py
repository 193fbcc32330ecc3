"""Who is let in by a handshake, of whatever transport."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from ws_gateway.admission import UnauthenticatedSockets
from ws_gateway.bearer import Admission, OAuth2WebSocketPasswordBearer, Source
from ws_gateway.connection import Connection, DeflatingConnection
from ws_gateway.exceptions import HandshakeRejected
from ws_gateway.node import Node
from ws_gateway.protocol.codec import Codec
from ws_gateway.routes.handshake_clock import elapsed
from ws_gateway.transport import Transport

RETRY = {"Retry-After": "5"}


def make_bearer(*, query_token: bool) -> OAuth2WebSocketPasswordBearer:
    """Make the dependency that reads a handshake's credential, if there is one.

    Args:
        query_token: Accept ``?access_token=``.
    """
    return OAuth2WebSocketPasswordBearer(
        tokenUrl="/token",
        scopes={"connect": "open a connection"},
        auto_error=False,
        query_token=query_token,
    )


class Entry:
    """A client that was let in, until it has its connection.

    Args:
        node: Where its connection will live.
        handshake: What it came with.
        admission: Who it is.
        release: Called when it has said who it is, or will not; None if it has said so.
    """

    def __init__(
        self,
        node: Node,
        handshake: HTTPConnection,
        admission: Admission,
        release: Callable[[], None] | None,
    ) -> None:
        self._node = node
        self._handshake = handshake
        self._admission = admission
        self._release = release

    def open(self, transport: Transport, codec: Codec, *, emulated: str = "") -> Connection:
        """Make the connection; ``emulated`` as there."""
        release, self._release = self._release, None
        admission = self._admission
        self._node.metrics.handshakes["ok"] += 1
        self._node.metrics.handshake_seconds.observe(elapsed(self._handshake.scope))
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
            address=_address(self._handshake),
        )

    def leave(self) -> None:
        """Count it no longer, if it got no connection."""
        if self._release is not None:
            self._release()


class Door:
    """Lets clients into a node.

    Args:
        node: Where connections live.
        unauthenticated: Bounds those that bring no credential.
        connection_limit: How many connections the node may have.
    """

    def __init__(
        self, node: Node, unauthenticated: UnauthenticatedSockets, *, connection_limit: int
    ) -> None:
        self.node = node
        self._connection_limit = connection_limit
        self._unauthenticated = unauthenticated

    @contextlib.contextmanager
    def enter(self, connection: HTTPConnection, admission: Admission) -> Iterator[Entry]:
        """Let a client in, whose credential was read.

        Raises:
            HTTPException: 403 where guests are not allowed, 429 and 503 where there are too many,
                503 where none may come now.
        """
        if not self.node.ready:
            raise HTTPException(503, "not ready, or going away", RETRY)
        if self.node.connections >= self._connection_limit:
            raise HTTPException(503, "too many connections", RETRY)
        credentials = admission.credentials
        release = None
        if credentials is not None and not credentials.user and not self.node.guests:
            raise HTTPException(403, "guests are not allowed")
        if credentials is None:
            address = _address(connection)
            try:
                self._unauthenticated.admit(address)
            except HandshakeRejected as error:
                raise HTTPException(error.status, error.detail, error.headers) from error
            release = partial(self._unauthenticated.release, address)
        entry = Entry(self.node, connection, admission, release)
        try:
            yield entry
        finally:
            entry.leave()


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""
