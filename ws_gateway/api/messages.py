"""The requests and results of the server API (protocol section 18), as JSON has them.

Fields that are not known are passed over: clients of a newer protocol send some. Payloads are
``Raw``, as in the client protocol: checked once, and carried as they came.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Raw, Struct

from ws_gateway.descriptions import NodeInfo
from ws_gateway.protocol.messages import (
    ABSENT,
    ClientInfo,
    EmptyResult,
    Error,
    HistoryRequest,
    Int64,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    StreamPosition,
    UInt64,
)

CloseCode = Annotated[int, Meta(ge=0, le=4999)]


class _Message(Struct, frozen=True, omit_defaults=True, gc=False):
    """Zero values are left out."""


# What is asked for.


class _Publishing(_Message, frozen=True):
    """What is published, and how.

    Attributes:
        data: Any JSON.
        b64data: ... or bytes in base64; beats ``data``.
        skip_history: Do not keep it.
        tags: What subscribers' filters look at.
        idempotency_key: Within five minutes, a second publication into the channel with the same
            key is answered as the first, and not published.
        delta: Let it be sent as a difference, whatever the namespace says.
        version: A channel with history drops it unless it is higher than the last one's.
        version_epoch: Versions of another epoch are not compared.
    """

    data: Raw = ABSENT
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] | None = None
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""


class PublishRequest(_Publishing, frozen=True):
    """Publish into a channel."""

    channel: str = ""


class BroadcastRequest(_Publishing, frozen=True):
    """Publish the same into many channels."""

    channels: tuple[str, ...] = ()

    def to(self, channel: str) -> PublishRequest:
        """Return the one that concerns one channel."""
        shared = {name: getattr(self, name) for name in _Publishing.__struct_fields__}
        return PublishRequest(channel=channel, **shared)


class BoolValue(_Message, frozen=True):
    """A choice that was made."""

    value: bool = False


class Override(_Message, frozen=True):
    """Options of a channel that differ for one subscription."""

    presence: BoolValue | None = None
    join_leave: BoolValue | None = None
    force_push_join_leave: BoolValue | None = None
    force_positioning: BoolValue | None = None
    force_recovery: BoolValue | None = None

    def chosen(self) -> tuple[tuple[str, bool], ...]:
        """List what is chosen."""
        return tuple(
            (option, choice.value)
            for option in self.__struct_fields__
            if (choice := getattr(self, option)) is not None
        )


class _ToUser(_Message, frozen=True):
    """Whom it concerns.

    Attributes:
        user: All his connections; empty for a guest's.
        client: Only the connection with this id.
        session: Only the one with this id of its emulated session.
    """

    user: str = ""
    client: str = ""
    session: str = ""


class SubscribeRequest(_ToUser, frozen=True):
    """Subscribe a user's connections to a channel.

    Attributes:
        channel: To what.
        expire_at: Unix time in seconds when it ends; 0 for never.
        info: What others see of the subscription.
        b64info: The same in base64; beats ``info``.
        data: For the client.
        b64data: The same in base64; beats ``data``.
        recover_since: Hand over what was published since.
        override: Options of the channel that differ.
    """

    channel: str = ""
    expire_at: Int64 = 0
    info: Raw = ABSENT
    b64info: str = ""
    data: Raw = ABSENT
    b64data: str = ""
    recover_since: StreamPosition | None = None
    override: Override | None = None


class UnsubscribeRequest(_ToUser, frozen=True):
    """End the subscriptions of a user to a channel, or all of them if it is empty."""

    channel: str = ""


class DisconnectWith(_Message, frozen=True):
    """The close code and its reason; 3503 without one."""

    code: CloseCode = 0
    reason: str = ""


class DisconnectRequest(_ToUser, frozen=True):
    """End a user's connections, but those of ``whitelist``."""

    whitelist: tuple[str, ...] = ()
    disconnect: DisconnectWith | None = None


class RefreshRequest(_ToUser, frozen=True):
    """Move the end of a user's connections.

    Attributes:
        expired: They end now; clients come back with a new token.
        expire_at: Unix time in seconds when they end; 0 leaves it.
        info: What others see of them from now on.
    """

    expired: bool = False
    expire_at: Int64 = 0
    info: Raw = ABSENT


class HistoryRemoveRequest(_Message, frozen=True):
    """Forget a channel's publications."""

    channel: str = ""


class ChannelsRequest(_Message, frozen=True):
    """Ask which channels have subscribers; those that match a pattern, or all."""

    pattern: str = ""


class InfoRequest(_Message, frozen=True):
    """Ask how the nodes are."""


class Command(_Message, frozen=True):
    """One command of a batch: exactly one of these."""

    publish: PublishRequest | None = None
    broadcast: BroadcastRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    disconnect: DisconnectRequest | None = None
    refresh: RefreshRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    history_remove: HistoryRemoveRequest | None = None
    channels: ChannelsRequest | None = None
    info: InfoRequest | None = None


class BatchRequest(_Message, frozen=True):
    """Carry out commands: one after the other, or side by side."""

    commands: tuple[Command, ...] = ()
    parallel: bool = False


Request = (
    PublishRequest
    | BroadcastRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | DisconnectRequest
    | RefreshRequest
    | PresenceRequest
    | PresenceStatsRequest
    | HistoryRequest
    | HistoryRemoveRequest
    | ChannelsRequest
    | InfoRequest
    | BatchRequest
)


# What is answered.


class PublishResult(_Message, frozen=True):
    """The place of a publication in its stream; nothing where the channel has no history."""

    offset: int = 0
    epoch: str = ""


class PublishResponse(_Message, frozen=True):
    """What became of one publication of a broadcast: one of these."""

    result: PublishResult | None = None
    error: Error | None = None


class BroadcastResult(_Message, frozen=True):
    """What became of each, in the order of the channels."""

    responses: list[PublishResponse]


class Publication(_Message, frozen=True):
    """A past publication; its payload is in ``b64data``, and ``data`` null, if it is no JSON."""

    data: Raw
    b64data: str = ""
    info: ClientInfo | None = None
    offset: int = 0
    tags: dict[str, str] | None = None


class HistoryResult(_Message, frozen=True):
    """Past publications, and where the stream is now."""

    publications: list[Publication]
    offset: int
    epoch: str


class ChannelInfo(_Message, frozen=True):
    """How many connections are subscribed to a channel."""

    num_clients: int


class ChannelsResult(_Message, frozen=True):
    """Channels that have subscribers, by name."""

    channels: dict[str, ChannelInfo]


class InfoResult(_Message, frozen=True):
    """The nodes that have answered."""

    nodes: list[NodeInfo]


class BatchResult(_Message, frozen=True):
    """What became of each command, in their order: ``{METHOD: result}``, or ``{"error": …}``."""

    replies: list[dict[str, Any]]


Result = (
    PublishResult
    | BroadcastResult
    | EmptyResult
    | HistoryResult
    | PresenceResult
    | PresenceStatsResult
    | ChannelsResult
    | InfoResult
    | BatchResult
)

Method = Literal[
    "publish",
    "broadcast",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "batch",
]

REQUESTS: dict[str, type[Request]] = dict(zip(get_args(Method), get_args(Request), strict=True))
"""What each method takes."""

METHODS: dict[type, str] = {request: method for method, request in REQUESTS.items()}
"""Which method a request is one of."""

RESULTS: dict[str, type[Result]] = {
    "publish": PublishResult,
    "broadcast": BroadcastResult,
    "presence": PresenceResult,
    "presence_stats": PresenceStatsResult,
    "history": HistoryResult,
    "channels": ChannelsResult,
    "info": InfoResult,
    "batch": BatchResult,
}
"""What each method answers with; ``EmptyResult`` where it is not named."""

UNWRAPPED = frozenset({"batch"})
"""Methods whose result stands alone; that of the others is under ``result``."""

_decoders = {method: msgspec.json.Decoder(request) for method, request in REQUESTS.items()}

encode = msgspec.json.Encoder().encode
"""Writes a result."""


def decode(method: str, body: bytes) -> Request:
    """Read the request of a method.

    Raises:
        ValueError: The body is not JSON, or a field has the wrong type.
    """
    try:
        request: Request = _decoders[method].decode(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return request
