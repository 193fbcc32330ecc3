"""Sessions in each state, what clients say to them, and how they answer and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.protocol.messages import (
    Command,
    ConnectRequest,
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RPCRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.session import Session, SessionLimits, Tick

LIMITS = SessionLimits(
    connect_timeout=10, ping_interval=20, pong_timeout=8, expiry_grace=25, max_channels=3
)
START = 1000.0
HOUR = 3600.0
ALICE = Credentials(
    user="alice",
    client_id="chat",
    scopes=frozenset({"connect"}),
    expires_at=1_900_000_000,
    jti="j",
    sid="s",
    issuer="https://issuer.example",
)

CONNECT = Command(id=1, connect=ConnectRequest())
PONG = Command()
SUBSCRIBE = Command(id=2, subscribe=SubscribeRequest(channel="news"))

GRANT = SubscriptionGrant(info=b'"i"')

Make = Callable[..., Session]


def opened(**options: Any) -> Session:  # noqa: ANN401 - Session's own
    """Return a session whose handshake has just ended."""
    values: dict[str, Any] = {"now": START, "jitter": 0.0}
    return Session(LIMITS, **values | options)


def with_credentials(**options: Any) -> Session:  # noqa: ANN401
    """Return one that was authenticated at the handshake, for an hour."""
    values: dict[str, Any] = {"credentials": ALICE, "lifetime": HOUR}
    return opened(**values | options)


def connected(**options: Any) -> Session:  # noqa: ANN401
    """Return one that has connected with the handshake's credentials."""
    session = with_credentials(**options)
    session.receive(CONNECT, START)
    session.connected(START, ALICE, None)
    return session


def connected_by_token(lifetime: float = HOUR) -> Session:
    """Return one that has connected with a token in ``connect``."""
    session = opened()
    session.receive(Command(id=1, connect=ConnectRequest(token="t")), START)
    session.connected(START, ALICE, lifetime)
    return session


def bare(**options: Any) -> Session:  # noqa: ANN401
    """Return a bare one."""
    session = with_credentials(**options)
    session.receive(PONG, START)
    return session


def failed() -> Session:
    """Return one whose ``connect`` was refused."""
    session = with_credentials()
    session.receive(CONNECT, START)
    session.connect_failed()
    return session


def assert_ends(code: DisconnectCode, session: Session, command: Command) -> None:
    """Send a command that ends the connection."""
    with pytest.raises(Disconnect) as caught:
        session.receive(command, START + 1)
    assert caught.value.code is code


def assert_refused(code: ErrorCode, session: Session, command: Command) -> None:
    """Send a command that fails, and leaves everything as it was."""
    state, channels = session.state, set(session.channels)

    with pytest.raises(ReplyError) as caught:
        session.receive(command, START + 1)

    assert caught.value.code == code
    assert (session.state, set(session.channels)) == (state, channels)


def assert_closes(code: DisconnectCode, session: Session, at: float) -> None:
    """See that the time ends the connection at that moment, and is asked for then."""
    assert session.deadline <= at
    with pytest.raises(Disconnect) as caught:
        session.tick(at)
    assert caught.value.code is code


REQUESTS: list[Command] = [
    Command(id=2, subscribe=SubscribeRequest(channel="news")),
    Command(id=2, unsubscribe=UnsubscribeRequest(channel="news")),
    Command(id=2, publish=PublishRequest(channel="news", data=Raw(b"1"))),
    Command(id=2, presence=PresenceRequest(channel="news")),
    Command(id=2, presence_stats=PresenceStatsRequest(channel="news")),
    Command(id=2, history=HistoryRequest(channel="news", since=StreamPosition(offset=2**64 - 1))),
    Command(id=2, rpc=RPCRequest()),
]
"""Commands that every authenticated connection may send."""


def name(command: Command) -> str:
    """Name a command in a test's id."""
    return type(command.request).__name__ + ("" if command.id else " without id")


def live(session: Session, until: float) -> None:
    """Answer every ping until then."""
    while session.deadline <= until:
        now = session.deadline
        if session.tick(now) is Tick.PING:
            session.receive(PONG, now)
        session.seen(now)


def without_id(command: Command) -> Command:
    """Return the same command as one that asks for no reply."""
    return msgspec.structs.replace(command, id=0)
