"""What nodes say to each other, and how it is written: MessagePack, with the format's version.

Fields may be added at the end of a structure without a new version; older nodes pass over them.
An order of a kind that a node does not know does not parse there, so that it does not answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

MAX_BYTES = 2**25
"""A longer message is not one of ours: a client's commands have 16 MiB at most."""

MAX_ANSWER_BYTES = 2**23
"""Of an answer; every node sends one, and Redis cuts who is too far behind."""


# What is out of bounds does not parse: halfway through an order it would be worse.
CloseCode = Annotated[int, Meta(ge=3000, le=4999)]
Natural = Annotated[int, Meta(ge=0)]


class Target(Struct, frozen=True, array_like=True, gc=False):
    """Which connections an order is for.

    Attributes:
        user: Whose; empty for a guest's, which only an id tells.
        client: The one with this id; empty for all of the user's.
        session: The one whose commands come by requests with this id; empty for all. A WebSocket
            has none.
        keep: Ids of those that are left alone.
    """

    user: str
    client: str = ""
    session: str = ""
    keep: tuple[str, ...] = ()


class Disconnect(Struct, frozen=True, array_like=True, tag="disconnect", gc=False):
    """End connections, with this close code and reason."""

    target: Target
    code: CloseCode
    reason: str


class Subscribe(Struct, frozen=True, array_like=True, tag="subscribe", gc=False):
    """Subscribe connections to a channel.

    Attributes:
        target: Which.
        channel: To what.
        info: JSON text that others see of the subscription.
        data: JSON text for the client.
        override: Channel options that differ, see ``credentials.OVERRIDABLE``.
        expire_at: Unix time in seconds when it ends; 0 for never.
        since: Offset and epoch that the client knows the stream up to.
    """

    target: Target
    channel: str
    info: bytes = b""
    data: bytes = b""
    override: tuple[tuple[str, bool], ...] = ()
    expire_at: Natural = 0
    since: tuple[Natural, str] | None = None


class Unsubscribe(Struct, frozen=True, array_like=True, tag="unsubscribe", gc=False):
    """End subscriptions to a channel, or to all if it is empty."""

    target: Target
    channel: str


class Refresh(Struct, frozen=True, array_like=True, tag="refresh", gc=False):
    """Move the end of connections to a Unix time in seconds (0: leave it), or show other info."""

    target: Target
    expire_at: Natural = 0
    info: bytes = b""


class DescribeNode(Struct, frozen=True, array_like=True, tag="node", gc=False):
    """Say how the node is; answered with ``descriptions.NodeInfo``."""


class ListChannels(Struct, frozen=True, array_like=True, tag="channels", gc=False):
    """List channels with their subscribers; answered with ``dict[str, int]``."""

    pattern: str
    limit: Natural


class ListConnections(Struct, frozen=True, array_like=True, tag="connections", gc=False):
    """List connections by their ids, from the one after ``after``.

    Attributes:
        user: Whose; None for everybody's.
        after: An id; empty for the beginning.
        limit: How many at most.
    """

    user: str | None
    after: str
    limit: Natural


class ShowConnection(Struct, frozen=True, array_like=True, tag="connection", gc=False):
    """Say all about one connection; answered with a list of one, or none."""

    client: str


class ListCloses(Struct, frozen=True, array_like=True, tag="closes", gc=False):
    """List connections that ended, the last first.

    Attributes:
        user: Whose; None for everybody's.
        code: With this close code; 0 for any.
        limit: How many at most.
    """

    user: str | None
    code: int
    limit: Natural


Order = (
    Disconnect
    | Subscribe
    | Unsubscribe
    | Refresh
    | DescribeNode
    | ListChannels
    | ListConnections
    | ShowConnection
    | ListCloses
)


class Question(Struct, frozen=True, array_like=True, tag="ask", gc=False):
    """An order, and to whom it is to be answered."""

    version: Literal[1]
    node: str
    number: int
    order: Order


class Answer(Struct, frozen=True, array_like=True, tag="answer", gc=False):
    """What a node says to an order.

    Attributes:
        version: Of this format.
        node: Who answers.
        number: The question's.
        code: Of the error if it could not be done, else 0.
        result: What was asked for, as JSON, in which payloads can stand as they are.
    """

    version: Literal[1]
    node: str
    number: int
    code: int = 0
    result: bytes = b""


class Relayed(Struct, frozen=True, array_like=True, tag="relayed", gc=False):
    """Commands of a client whose connection is on this node, and that reached another one.

    Attributes:
        version: Of this format.
        session: Which connection. Whoever knows it can speak for the client.
        data: The commands, as one message of a WebSocket would have them.
        binary: They are Protobuf.
        origin: Where they came from; None for a program that names none.
    """

    version: Literal[1]
    session: str
    data: bytes
    binary: bool
    origin: str | None


encode = msgspec.msgpack.Encoder().encode
"""Writes a message."""

_decode = msgspec.msgpack.Decoder(Question | Answer | Relayed).decode


def decode(message: bytes) -> Question | Answer | Relayed:
    """Read a message.

    Raises:
        ValueError: It is not one of ours; msgspec's errors are of this kind.
    """
    if len(message) > MAX_BYTES:
        raise ValueError("too long")
    said: Question | Answer | Relayed = _decode(message)
    return said
