"""The messages of the Centrifuge client protocol v2, the same for every encoding.

Field names are the protocol's. Fields that are ``bytes`` in its Protobuf schema and raw JSON in
its JSON form (``data``, ``conn_info``) are ``Raw``: checked once at the edge, never parsed again.
They are msgspec structures because the decoder fills them straight from the wire.
"""

from __future__ import annotations

from typing import Annotated, get_args

from msgspec import Meta, Raw, Struct

UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, Meta(ge=0)]  # the upper bound is the decoder's own
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

ABSENT = Raw()  # a payload that was not sent; ``null`` is one that was


class _Message(Struct, frozen=True, omit_defaults=True, gc=False):
    """Zero values are left out on the wire; no message refers to itself, so no cycle collection."""


# What a client sends.


class StreamPosition(_Message, frozen=True):
    """A place in a channel's stream."""

    offset: UInt64 = 0
    epoch: str = ""


class SubscribeRequest(_Message, frozen=True):
    """Subscribe to a channel."""

    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: UInt64 = 0
    data: Raw = ABSENT
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: Raw = ABSENT
    flag: Int64 = 0
    type: Int32 = 0


class ConnectRequest(_Message, frozen=True):
    """Authenticate, and begin."""

    token: str = ""
    data: Raw = ABSENT
    subs: dict[str, SubscribeRequest] | None = None
    name: str = ""
    version: str = ""


class UnsubscribeRequest(_Message, frozen=True):
    """Leave a channel."""

    channel: str = ""


class PublishRequest(_Message, frozen=True):
    """Publish into a channel."""

    channel: str = ""
    data: Raw = ABSENT


class PresenceRequest(_Message, frozen=True):
    """Ask who is in a channel."""

    channel: str = ""


class PresenceStatsRequest(_Message, frozen=True):
    """Ask how many are in a channel."""

    channel: str = ""


class HistoryRequest(_Message, frozen=True):
    """Ask for past publications."""

    channel: str = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class PingRequest(_Message, frozen=True):
    """Exists in the schema; no client sends it."""


class SendRequest(_Message, frozen=True):
    """A message to the server that asks for no reply."""

    data: Raw = ABSENT


class RPCRequest(_Message, frozen=True):
    """Call a method of the server's hooks."""

    data: Raw = ABSENT
    method: str = ""


class RefreshRequest(_Message, frozen=True):
    """Replace the connection's token."""

    token: str = ""


class SubRefreshRequest(_Message, frozen=True):
    """Replace a subscription's token."""

    channel: str = ""
    token: str = ""


Request = (
    ConnectRequest
    | PingRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | PublishRequest
    | PresenceRequest
    | PresenceStatsRequest
    | HistoryRequest
    | RPCRequest
    | SendRequest
    | RefreshRequest
    | SubRefreshRequest
)


class Command(_Message, frozen=True):
    """What a client sends: an id and one request.

    The fields stand in the order in which the protocol looks for the request: where several are
    set, the first wins.
    """

    id: UInt32 = 0
    connect: ConnectRequest | None = None
    ping: PingRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    rpc: RPCRequest | None = None
    send: SendRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None

    @property
    def request(self) -> Request | None:
        """The request, or None for a pong."""
        for name in _REQUEST_FIELDS:
            request: Request | None = getattr(self, name)
            if request is not None:
                return request
        return None


_REQUEST_FIELDS = Command.__struct_fields__[1:]
REQUEST_NAMES: dict[type, str] = dict(zip(get_args(Request), _REQUEST_FIELDS, strict=True))
"""What the protocol calls each kind of request."""


# What a server sends.


class Error(_Message, frozen=True):
    """Why a command failed."""

    code: int
    message: str
    temporary: bool = False


class ClientInfo(_Message, frozen=True):
    """Who published, joined or left. ``user`` and ``client`` are always written."""

    user: str
    client: str
    conn_info: Raw = ABSENT
    chan_info: Raw = ABSENT


class Publication(_Message, frozen=True):
    """One message in a channel.

    Attributes:
        data: The payload as it came, JSON text or bytes.
        info: Who published; absent for the server's own.
        offset: Place in the stream, from 1; 0 where the channel has no history.
    """

    data: Raw
    info: ClientInfo | None = None
    offset: int = 0


class SubscribeResult(_Message, frozen=True):
    """The state a subscription starts in."""

    recoverable: bool = False
    epoch: str = ""
    offset: int = 0
    positioned: bool = False


class ConnectResult(_Message, frozen=True):
    """The state a connection starts in."""

    client: str
    version: str
    expires: bool = False
    ttl: int = 0
    subs: dict[str, SubscribeResult] | None = None
    ping: int = 0
    pong: bool = False
    node: str = ""


class RefreshResult(_Message, frozen=True):
    """How long the new token lasts."""

    client: str
    version: str
    expires: bool = False
    ttl: int = 0


class RPCResult(_Message, frozen=True):
    """What a method answered."""

    data: Raw


class EmptyResult(_Message, frozen=True):
    """Done; SDKs look for the key, so it is there although nothing is in it."""


class Push(_Message, frozen=True):
    """Something the client did not ask for just now."""

    channel: str
    pub: Publication | None = None


class Reply(_Message, frozen=True):
    """What a server sends: the answer to a command, or a push."""

    id: int = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: EmptyResult | None = None
    publish: EmptyResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None


EMPTY = EmptyResult()
