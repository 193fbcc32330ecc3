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
    """A place in a channel's stream.

    Attributes:
        offset: The number of a publication; 0 is before the first.
        epoch: The stream's name; another one is another stream.
    """

    offset: UInt64 = 0
    epoch: str = ""


class FilterNode(_Message, frozen=True):
    """A condition on the tags of publications, or ``and``, ``or``, ``not`` of such.

    Attributes:
        op: ``and``, ``or`` or ``not`` of ``nodes``; absent in a comparison.
        key: The tag that is compared.
        cmp: How: ``eq``, ``neq``, ``in``, ``nin``, ``ex``, ``nex``, ``sw``, ``ew``, ``ct``, ``gt``,
            ``gte``, ``lt`` or ``lte``.
        val: With what.
        vals: With which, for ``in`` and ``nin``.
        nodes: What ``op`` is about.
    """

    op: str = ""
    key: str = ""
    cmp: str = ""
    val: str = ""
    vals: tuple[str, ...] = ()
    nodes: tuple[FilterNode, ...] = ()


class SubscribeRequest(_Message, frozen=True):
    """Subscribe to a channel.

    Attributes:
        channel: Its name.
        token: Of one's own backend, for a private channel.
        recover: Begin where ``epoch`` and ``offset`` are, with what was missed since.
        epoch: The stream that was heard before.
        offset: The last publication of it that was heard.
        data: For the subscribe hook.
        positioned: Be told of a gap.
        recoverable: Be able to resume.
        join_leave: Be told who comes and goes.
        delta: ``fossil`` to be sent what has changed in place of whole payloads.
        tf: Which publications to be sent, by their tags.
        flag: Bit 1: pushes carry the channel's number; bit 2: fail with error 112 where resuming is
            impossible.
        type: 0; other kinds of subscriptions do not exist here.
    """

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
    tf: FilterNode | None = None
    flag: Int64 = 0
    type: Int32 = 0


class ConnectRequest(_Message, frozen=True):
    """Authenticate, and begin.

    Attributes:
        token: The access token, unless the handshake brought it.
        data: For the connect hook.
        subs: Where server-side subscriptions are to be resumed, by channel.
        name: What the client's program is called; nothing depends on it.
        version: And which one it is.
    """

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
    """Ask for past publications.

    Attributes:
        channel: Whose.
        limit: How many; 0 for the position alone, -1 for as many as are given at once.
        since: Only what is later, or with ``reverse`` earlier.
        reverse: The newest first.
    """

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
    """Call a method of the server's hooks.

    Attributes:
        data: Its argument.
        method: Its name.
    """

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
    """Why a command failed.

    Attributes:
        code: Which error.
        message: The same in words.
        temporary: The same command may succeed later.
    """

    code: int
    message: str
    temporary: bool = False


class ClientInfo(_Message, frozen=True):
    """Who published, joined or left. ``user`` and ``client`` are always written.

    Attributes:
        user: The user's id; empty for a guest.
        client: The connection's id.
        conn_info: What the token or the connect hook says of the user.
        chan_info: What the subscription's token or the subscribe hook says.
    """

    user: str
    client: str
    conn_info: Raw = ABSENT
    chan_info: Raw = ABSENT


class Publication(_Message, frozen=True):
    """One message in a channel.

    Attributes:
        data: The payload as it came, JSON text or bytes; a patch if ``delta`` is set.
        info: Who published; absent for the server's own.
        offset: Place in the stream, from 1; 0 where the channel has no history.
        tags: What a subscriber's filter looks at.
        delta: ``data`` is a patch of the payload before it.
        epoch: The stream's, with its first publication.
    """

    data: Raw
    info: ClientInfo | None = None
    offset: int = 0
    tags: dict[str, str] | None = None
    delta: bool = False
    epoch: str = ""


class SubscribeResult(_Message, frozen=True):
    """The state a subscription starts in.

    Attributes:
        expires: The subscription ends with its token, unless a sub_refresh comes.
        ttl: In so many seconds.
        recoverable: It can be resumed.
        epoch: The stream's name.
        publications: What was missed.
        recovered: Nothing is missing between the position that was asked for and now.
        offset: The position; ``publications`` move it.
        positioned: A gap will be told.
        data: From the subscribe hook.
        was_recovering: It was to be resumed.
        delta: Payloads may be patches from here on.
        id: The channel's number, which pushes carry instead of its name.
    """

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    epoch: str = ""
    publications: tuple[Publication, ...] = ()
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    data: Raw = ABSENT
    was_recovering: bool = False
    delta: bool = False
    id: int = 0


class ConnectResult(_Message, frozen=True):
    """The state a connection starts in.

    Attributes:
        client: The connection's id.
        version: The server's.
        expires: The connection ends with the token, unless a refresh comes.
        ttl: In so many seconds.
        data: From the connect hook.
        subs: The server's own subscriptions, by channel.
        ping: Seconds between the server's pings; 0 for none.
        pong: Each of them is to be answered.
        session: For transports other than WebSocket.
        node: The gateway's id.
    """

    client: str
    version: str
    expires: bool = False
    ttl: int = 0
    data: Raw = ABSENT
    subs: dict[str, SubscribeResult] | None = None
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""


class PresenceResult(_Message, frozen=True):
    """Who is in a channel, by connection."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(_Message, frozen=True):
    """How many are in a channel.

    Attributes:
        num_clients: Connections.
        num_users: Users; all guests are one.
    """

    num_clients: int
    num_users: int


class HistoryResult(_Message, frozen=True):
    """Past publications, and where the stream is now."""

    publications: tuple[Publication, ...]
    epoch: str
    offset: int


class RefreshResult(_Message, frozen=True):
    """How long the new token lasts.

    Attributes:
        client: The connection's id.
        version: The server's.
        expires: It ends.
        ttl: In so many seconds.
    """

    client: str
    version: str
    expires: bool = False
    ttl: int = 0


class SubRefreshResult(_Message, frozen=True):
    """How long the subscription's new token lasts.

    Attributes:
        expires: It ends.
        ttl: In so many seconds.
    """

    expires: bool = False
    ttl: int = 0


class RPCResult(_Message, frozen=True):
    """What a method answered."""

    data: Raw


class EmptyResult(_Message, frozen=True):
    """Done; SDKs look for the key, so it is there although nothing is in it."""


class Join(_Message, frozen=True):
    """Somebody came."""

    info: ClientInfo


class Leave(_Message, frozen=True):
    """Somebody went."""

    info: ClientInfo


class Unsubscribe(_Message, frozen=True):
    """The server ended a subscription."""

    code: int
    reason: str


class Message(_Message, frozen=True):
    """A message of the server's to one connection."""

    data: Raw


class Subscribe(_Message, frozen=True):
    """The server began a subscription.

    Attributes:
        recoverable: It can be resumed.
        epoch: The stream's name.
        offset: The position it begins at.
        positioned: A gap will be told.
        data: For the client.
    """

    recoverable: bool = False
    epoch: str = ""
    offset: int = 0
    positioned: bool = False
    data: Raw = ABSENT


class DisconnectPush(_Message, frozen=True):
    """Why the connection ends, where no close frame can say it."""

    code: int
    reason: str


class Refresh(_Message, frozen=True):
    """The server changed how long the connection lasts.

    Attributes:
        expires: It ends.
        ttl: In so many seconds.
    """

    expires: bool = False
    ttl: int = 0


class Push(_Message, frozen=True):
    """Something the client did not ask for just now.

    Attributes:
        id: The channel's number, if the subscription was told one; then without ``channel``.
    """

    id: int = 0
    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None
    disconnect: DisconnectPush | None = None
    refresh: Refresh | None = None


class Reply(_Message, frozen=True):
    """What a server sends: the answer to a command, or a push."""

    id: int = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: EmptyResult | None = None
    publish: EmptyResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None


EMPTY = EmptyResult()
