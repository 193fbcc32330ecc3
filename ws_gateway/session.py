"""The state machine of one connection: commands and time in, what to do out; no I/O.

::

                      connect refused
            ┌────────────────────────────► FAILED ── any command: 3501; in time: 3502
            │
    OPENED ─┼─ connect ─► CONNECTING ────► CONNECTED ── second connect: 3501
            │             (in time, or 3502)
            └─ any other command, or none
               in time, with credentials ► BARE ── connect: 3501
               ... without ones: 3501, 3502

``receive`` says which request to perform, ``tick`` what the time asks for; both raise
``ReplyError`` for an answer and ``Disconnect`` for the end. The caller performs, and reports with
``connected``, ``subscribed``, ``granted``, ``unsubscribed`` and ``refreshed``. Every ``now`` is
seconds of one monotonic clock.

A connection is *bare* if it was authenticated at the handshake and its first command was no
``connect``: it is pinged by WebSocket pings and its commands need no id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag
from math import inf

from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.protocol.messages import (
    Command,
    ConnectRequest,
    HistoryRequest,
    PingRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    Request,
    RPCRequest,
    SendRequest,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.repeats import Repeats
from ws_gateway.subscription_grants import SubscriptionGrants

_SILENT_PINGS = 3  # a bare peer that answers none of so many is gone
# Those that came together after a restart must not all come back together.
_AGE_SPREAD = 0.2
_MAX_OFFSET = 2**64 - 1
_DELTA_TYPES = {"", "fossil"}


class State(Enum):
    """Where a connection is in its life."""

    OPENED = "opened"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    BARE = "bare"
    FAILED = "failed"


_BEFORE = (State.OPENED, State.CONNECTING, State.FAILED)


class SubscriptionKind(IntFlag):
    """What is true of a subscription."""

    PLAIN = 0
    POSITIONED = 1
    SERVER_SIDE = 2


class Tick(Enum):
    """What the time asks for."""

    PING = "ping"
    FRAME_PING = "frame ping"
    BEGIN_BARE = "begin bare"
    END_SUBSCRIPTIONS = "end subscriptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """The protocol's limits, the same for all connections; times in seconds.

    Attributes:
        connect_timeout: For the first command.
        ping_interval: Between pings.
        pong_timeout: For the answer to one; less than the interval.
        expiry_grace: For a refresh after the ``exp`` of a token, or of a subscription's.
        max_channels: Subscriptions of one connection.
        max_age: Of a connection, which then has to come back; infinite where it may stay.
    """

    connect_timeout: float = 10
    ping_interval: float = 25
    pong_timeout: float = 8
    expiry_grace: float = 25
    max_channels: int = 128
    max_age: float = inf


# What a session is told at its beginning, in one number: there are as many as connections.
_TOKEN_ALLOWED, _GUEST_ALLOWED, _PINGS_SEEN = 1, 2, 4


class Session:
    """One connection's state.

    Args:
        limits: The process's.
        now: The time of the handshake.
        jitter: A random number in [0, 1) that spreads the first ping and the maximum age.
        credentials: Whom the handshake authenticated, if it did.
        lifetime: Seconds until those expire.
        token_allowed: Whether ``connect`` may bring a token: not after one in the handshake's
            header or subprotocol.
        guest_allowed: ``connect`` may bring none, although the handshake brought none either.
        frame_pings: The client asked for WebSocket pings instead of the protocol's.
        pings_seen: The transport can send WebSocket pings and see the pongs; where it cannot,
            whatever carries it must watch the peer itself.
        repeats: The transport may bring a command twice, and out of order; each is then carried
            out once, and a pong that nobody waits for is passed over.

    Attributes:
        opened: The time of the handshake.
        round_trip: Seconds that the last ping of the protocol's own took to be answered, None
            before the first.
    """

    __slots__ = (
        "_closes",
        "_frame_pings",
        "_grants",
        "_jitter",
        "_limits",
        "_next_ping",
        "_pong_by",
        "_refreshable",
        "_repeats",
        "_seen",
        "_traits",
        "channels",
        "credentials",
        "opened",
        "round_trip",
        "state",
    )

    def __init__(
        self,
        limits: SessionLimits,
        *,
        now: float,
        jitter: float,
        credentials: Credentials | None = None,
        lifetime: float = inf,
        token_allowed: bool = True,
        guest_allowed: bool = False,
        frame_pings: bool = False,
        pings_seen: bool = True,
        repeats: bool = False,
    ) -> None:
        self.state = State.OPENED
        self.credentials = credentials
        self.channels: dict[str, SubscriptionKind] = {}
        self.round_trip: float | None = None
        self._limits = limits
        self.opened = self._seen = now
        self._jitter = jitter
        self._traits = (
            _TOKEN_ALLOWED * token_allowed
            | _GUEST_ALLOWED * guest_allowed
            | _PINGS_SEEN * pings_seen
        )
        self._frame_pings = frame_pings
        self._refreshable = False
        self._repeats = Repeats() if repeats else None
        self._closes = now + lifetime if credentials else inf
        self._next_ping = inf
        self._pong_by = inf
        self._grants: SubscriptionGrants | None = None

    @property
    def expires_with_grace(self) -> bool:
        """Whether the client is to refresh, rather than to come back with a fresh credential."""
        return self._refreshable and self._closes < inf

    @property
    def begun(self) -> bool:
        """Whether the client has connected, so that it can be told of things."""
        return self.state not in _BEFORE

    @property
    def closes(self) -> float:
        """When the connection ends unless it is refreshed; infinite for never."""
        return self._closes

    @property
    def max_channels(self) -> int:
        """How many subscriptions it may have."""
        return self._limits.max_channels

    @property
    def deadline(self) -> float:
        """When :meth:`tick` must be called next."""
        if self.state in _BEFORE:
            deadline = min(self.opened + self._limits.connect_timeout, self._closes)
        else:
            deadline = min(self._next_ping, self._pong_by, self._closes)
            if self._grants is not None:
                deadline = min(deadline, self._grants.next_end)
        # Mostly there is no maximum age, and all are asked again and again.
        return deadline if self._limits.max_age == inf else min(deadline, self._too_old)

    @property
    def _too_old(self) -> float:
        """When the maximum age is reached; never later than the limit says."""
        return self.opened + self._limits.max_age * (1 - _AGE_SPREAD * self._jitter)

    # What the client says

    def receive(self, command: Command, now: float) -> Request | None:
        """Check one command against the state; returns the request to perform, None for nothing.

        Raises:
            ReplyError: The command fails.
            Disconnect: The connection ends; 3501 for whatever breaks the protocol's order.
        """
        self._seen = now
        request = command.request
        if self._repeats is not None and command.id and self._repeats.note(command.id):
            return None
        if self.state is State.FAILED:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "command after a failed connect")
        if self.state is State.OPENED:
            if isinstance(request, ConnectRequest) and command.id:
                return self._connect(request)
            if self.credentials is None:
                raise Disconnect(DisconnectCode.BAD_REQUEST, "command before connect")
            if isinstance(request, ConnectRequest):
                raise Disconnect(DisconnectCode.BAD_REQUEST, "connect without id")
            self._begin(State.BARE, now)
        if request is None or (command.id == 0 and self.state is State.CONNECTED):
            return self._pong(command, request)
        return self._check(request)

    def seen(self, now: float) -> None:
        """Note that the peer lives: a control frame came."""
        self._seen = now

    def _connect(self, request: ConnectRequest) -> ConnectRequest:
        for wish in (request.subs or {}).values():
            if wish.offset > _MAX_OFFSET or wish.delta not in _DELTA_TYPES:
                raise Disconnect(DisconnectCode.BAD_REQUEST, "subs")
        if request.token and not self._traits & _TOKEN_ALLOWED:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "token beside the handshake's")
        if not request.token and self.credentials is None and not self._traits & _GUEST_ALLOWED:
            self.connect_failed()
            # An SDK answers this one by calling getToken, a page by refreshing its session.
            raise ReplyError(ErrorCode.TOKEN_EXPIRED)
        self.state = State.CONNECTING
        return request

    def _pong(self, command: Command, request: Request | None) -> Request | None:
        if isinstance(request, SendRequest):
            return self._check(request)
        if command.id:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "command without a request")
        if self.state is State.BARE:
            return None
        if self._pong_by == inf:
            if self._repeats is None:
                raise Disconnect(DisconnectCode.BAD_REQUEST, "pong without a ping")
            return None
        self.round_trip = self._seen - self._pong_by + self._limits.pong_timeout
        self._pong_by = inf
        return None

    def _check(self, request: Request) -> Request:
        # Of these there are the most, and there is little to check.
        if isinstance(request, PublishRequest) and request.channel:
            return request
        if isinstance(request, SubscribeRequest) and request.channel:
            self._check_subscribe(request)
            return request
        return self._check_others(request)

    def _check_others(self, request: Request) -> Request:
        match request:
            case ConnectRequest():
                raise Disconnect(DisconnectCode.BAD_REQUEST, "second connect")
            case PingRequest():
                raise Disconnect(DisconnectCode.BAD_REQUEST, "ping from a client")
            case SendRequest():
                raise Disconnect(DisconnectCode.NOT_AVAILABLE, "send without a handler")
            case RPCRequest():
                return request
            case RefreshRequest():
                if not self._refreshable or not request.token:
                    raise Disconnect(DisconnectCode.BAD_REQUEST, "refresh")
                return request
            case SubRefreshRequest():
                self._check_sub_refresh(request)
                return request
            case HistoryRequest(since=since) if since is not None and since.offset > _MAX_OFFSET:
                raise Disconnect(DisconnectCode.BAD_REQUEST, "offset over 64 bits")
            case (
                SubscribeRequest()
                | UnsubscribeRequest()
                | PublishRequest()
                | PresenceRequest()
                | PresenceStatsRequest()
                | HistoryRequest()
            ):
                pass
        if not request.channel:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "no channel")
        return request

    def _check_subscribe(self, request: SubscribeRequest) -> None:
        if request.delta not in _DELTA_TYPES or request.offset > _MAX_OFFSET:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "subscribe")
        if request.channel in self.channels:
            raise ReplyError(ErrorCode.ALREADY_SUBSCRIBED)
        if len(self.channels) >= self._limits.max_channels:
            raise ReplyError(ErrorCode.LIMIT_EXCEEDED)
        if request.type:  # streams are the only kind of subscription
            raise ReplyError(ErrorCode.PERMISSION_DENIED)

    def _check_sub_refresh(self, request: SubRefreshRequest) -> None:
        # Old SDKs leave the channel out; the token names it.
        if request.channel and request.channel not in self.channels:
            raise ReplyError(ErrorCode.PERMISSION_DENIED)
        if not request.token:
            raise ReplyError(ErrorCode.BAD_REQUEST)

    # What became of it

    def connect_failed(self) -> None:
        """Note that ``connect`` was answered with an error: nothing more may follow."""
        self.state = State.FAILED

    def connected(self, now: float, credentials: Credentials, token_lifetime: float | None) -> None:
        """Note that ``connect`` succeeded.

        Args:
            now: The time.
            credentials: Whose connection it is.
            token_lifetime: Seconds until the token of ``connect`` expires; None if the
                handshake's credentials count.
        """
        self.credentials = credentials
        if token_lifetime is not None:
            self.refreshed(now, credentials, token_lifetime)
            self._refreshable = True
        self._begin(State.CONNECTED, now)

    def refreshed(self, now: float, credentials: Credentials, lifetime: float) -> None:
        """Note that the connection lives on a new token for ``lifetime`` seconds."""
        self.credentials = credentials
        self._closes = now + lifetime + self._limits.expiry_grace

    def subscribed(self, channel: str, kind: SubscriptionKind = SubscriptionKind.PLAIN) -> None:
        """Note a subscription."""
        self.channels[channel] = kind

    def extended(self, now: float, lifetime: float) -> None:
        """Note that the server lets the connection live ``lifetime`` seconds from now."""
        grace = self._limits.expiry_grace if self._refreshable else 0
        self._closes = now + lifetime + grace

    def lost_position(self, channel: str) -> bool:
        """Say whether a subscription must end because publications were missed.

        Raises:
            Disconnect: 3010, where the server subscribed the client: it comes back as a whole.
        """
        kind = self.channels.get(channel, SubscriptionKind.PLAIN)
        if kind & SubscriptionKind.POSITIONED and kind & SubscriptionKind.SERVER_SIDE:
            raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "server-side subscription")
        return bool(kind & SubscriptionKind.POSITIONED)

    def unsubscribed(self, channel: str) -> None:
        """Note the end of one, if it was there."""
        self.channels.pop(channel, None)
        if self._grants is not None:
            self._grants.remove(channel)
            if not self._grants:
                self._grants = None

    def granted(
        self,
        now: float,
        channel: str,
        grant: SubscriptionGrant,
        *,
        lifetime: float,
        server_side: bool = False,
    ) -> None:
        """Note what a subscription was granted, and that it lasts ``lifetime`` seconds."""
        if self._grants is None:
            self._grants = SubscriptionGrants()
        ends_at = now + lifetime + self._limits.expiry_grace
        self._grants.put(channel, grant, ends_at=ends_at, server_side=server_side)

    def grant(self, channel: str) -> SubscriptionGrant | None:
        """Return what a subscription was granted, None if nothing in particular."""
        return None if self._grants is None else self._grants.find(channel)

    # What the time says

    def tick(self, now: float) -> Tick | None:
        """Say what is due at ``now``.

        Raises:
            Disconnect: 3005 at the token's end, 3011 at the maximum age, 3502 without a connect,
                3012 without a sign of life, 3006 at the end of a subscription that the server
                began.
        """
        if now >= self._closes:
            raise Disconnect(DisconnectCode.EXPIRED)
        if now >= self._too_old:
            raise Disconnect(DisconnectCode.FORCE_RECONNECT, "maximum age")
        if self.state in _BEFORE:
            if now < self.opened + self._limits.connect_timeout:
                return None
            if self.credentials is None or self.state is not State.OPENED:
                raise Disconnect(DisconnectCode.STALE)
            self._begin(State.BARE, now)
            return Tick.BEGIN_BARE
        if now >= self._pong_by:
            raise Disconnect(DisconnectCode.NO_PONG)
        if self.ended(now):
            return Tick.END_SUBSCRIPTIONS
        if now < self._next_ping:
            return None
        self._next_ping = now + self._limits.ping_interval
        if not self._frame_pings:
            self._pong_by = now + self._limits.pong_timeout
            return Tick.PING
        if now - self._seen >= _SILENT_PINGS * self._limits.ping_interval:
            raise Disconnect(DisconnectCode.NO_PONG)
        return Tick.FRAME_PING

    def ended(self, now: float) -> list[str]:
        """List the client's own subscriptions whose time is over.

        Raises:
            Disconnect: 3006 where one is the server's, which the client cannot begin anew.
        """
        if self._grants is None:
            return []
        ended = self._grants.ended(now)
        if any(map(self._grants.is_server_side, ended)):
            raise Disconnect(DisconnectCode.SUBSCRIPTION_EXPIRED)
        return ended

    def _begin(self, state: State, now: float) -> None:
        self.state = state
        self._seen = now
        if state is State.BARE:
            self._frame_pings = True
        if self._frame_pings and not self._traits & _PINGS_SEEN:
            return
        # Half to one interval: a crowd that came together is not pinged together.
        self._next_ping = now + self._limits.ping_interval * (1 + self._jitter) / 2

    @property
    def pings(self) -> bool:
        """Whether the client is to expect, and answer, the protocol's own pings."""
        return not self._frame_pings
