"""What an operator is told of connections, and of a node; never anything of a token's text."""

from __future__ import annotations

import os
import resource
import socket
import time
from contextlib import suppress
from math import inf
from pathlib import Path

from msgspec import Raw, Struct

from ws_gateway.connection import Connection
from ws_gateway.session import SubscriptionKind


class NodeProcess(Struct, frozen=True):
    """What a node costs: percent of one core since it was last asked, and resident bytes."""

    cpu: float
    rss: int


class NodeInfo(Struct, frozen=True):
    """One node, as ``info`` of the server API shows it.

    Attributes:
        uid: Its id.
        name: The host and the process.
        version: Of this build.
        num_clients: Open connections.
        num_users: Users that have one.
        num_subs: Subscriptions.
        num_channels: Channels that have one.
        uptime: Whole seconds since its start.
        process: What it costs.
    """

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_subs: int
    num_channels: int
    uptime: int
    process: NodeProcess


class _Described(Struct, frozen=True):
    """What is always said of a connection.

    Attributes:
        client: Its id.
        user: Whose it is; empty for a guest, and for who has not said.
        node: The gateway that holds it.
        since: Unix time in seconds.
        address: The peer's.
        codec: ``json`` or ``protobuf``.
    """

    client: str
    user: str
    node: str
    since: float
    address: str
    codec: str


class ConnectionSummary(_Described, frozen=True):
    """One connection in a list, and how many channels it is subscribed to."""

    channels: int


class Subscription(Struct, frozen=True, omit_defaults=True):
    """One subscription of a connection.

    Attributes:
        server_side: The server began it.
        offset: Up to where the stream has been delivered in its gateway, where it has a position.
        epoch: Of that stream.
    """

    server_side: bool = False
    offset: int | None = None
    epoch: str = ""


class Claims(Struct, frozen=True):
    """What the token of a connection said; times are Unix times in seconds.

    Attributes:
        issuer: ``iss``; empty for a guest, and for a token signed with the gateway's own secret.
        subject: ``sub``.
        client_id: The OAuth2 client it was issued to.
        scopes: In order.
        session: ``sid``.
        jti: The token's id, by which it can be revoked.
        issued_at: ``iat``.
        expires_at: ``exp``; None for never.
        info: What is shown to others.
    """

    issuer: str
    subject: str
    client_id: str
    scopes: list[str]
    session: str
    jti: str
    issued_at: int
    expires_at: float | None
    info: Raw = Raw(b"null")


class ConnectionDetails(_Described, frozen=True):
    """Everything about one connection.

    Attributes:
        state: Of its session.
        claims: What its token said; None if nobody has said so yet.
        seconds_left: Until it is closed unless it is refreshed, grace included; None for never.
        queue_bytes: What waits to be sent.
        round_trip: Seconds that the last ping took; None if none was answered.
        channels: Its subscriptions.
    """

    state: str
    claims: Claims | None
    seconds_left: float | None
    queue_bytes: int
    round_trip: float | None
    channels: dict[str, Subscription]


class Costs:
    """Measures this process.

    Args:
        name: What the node is called; host and process by default.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name or f"{socket.gethostname()}_{os.getpid()}"
        self._asked = time.monotonic()
        self._spent = time.process_time()

    def measure(self) -> NodeProcess:
        """Return what it costs; the CPU since the call before."""
        now, spent = time.monotonic(), time.process_time()
        elapsed, used = now - self._asked, spent - self._spent
        self._asked, self._spent = now, spent
        return NodeProcess(cpu=round(100 * used / max(elapsed, 1e-3), 2), rss=_resident())


def summarize(connection: Connection) -> ConnectionSummary:
    """Say of a connection what a list shows."""
    return ConnectionSummary(*_always(connection), channels=len(connection.session.channels))


def describe(connection: Connection) -> ConnectionDetails:
    """Say all about a connection."""
    session = connection.session
    left = session.closes - connection.node.loop.time()
    return ConnectionDetails(
        *_always(connection),
        state=session.state.value,
        claims=_claims(connection),
        seconds_left=None if left == inf else round(left, 3),
        queue_bytes=connection.queued,
        round_trip=session.round_trip,
        channels={
            channel: _subscription(connection, channel, kind)
            for channel, kind in session.channels.items()
        },
    )


def _always(connection: Connection) -> tuple[str, str, str, float, str, str]:
    """Return the fields of ``_Described``."""
    node, credentials = connection.node, connection.credentials
    return (
        connection.client,
        credentials.user if credentials is not None else "",
        node.id,
        round(node.clock() - (node.loop.time() - connection.session.opened), 3),
        connection.address,
        "protobuf" if connection.codec.binary else "json",
    )


def _claims(connection: Connection) -> Claims | None:
    credentials = connection.credentials
    if credentials is None:
        return None
    expires_at = credentials.expires_at
    return Claims(
        issuer=credentials.issuer,
        subject=credentials.subject,
        client_id=credentials.client_id,
        scopes=sorted(credentials.scopes),
        session=credentials.sid,
        jti=credentials.jti,
        issued_at=credentials.issued_at,
        expires_at=None if expires_at == inf else expires_at,
        info=Raw(credentials.info or b"null"),
    )


def _subscription(connection: Connection, channel: str, kind: SubscriptionKind) -> Subscription:
    server_side = bool(kind & SubscriptionKind.SERVER_SIDE)
    position = connection.node.streams.position(channel)
    if position is None or not kind & SubscriptionKind.POSITIONED:
        return Subscription(server_side=server_side)
    return Subscription(server_side=server_side, offset=position.offset, epoch=position.epoch)


def _resident() -> int:
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
        return int(pages) * resource.getpagesize()
    # No such file on this system: the peak, which is at least not less.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
