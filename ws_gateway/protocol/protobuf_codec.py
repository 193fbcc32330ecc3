"""The Protobuf encoding: messages in one binary message, each after its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from msgspec import Raw, to_builtins

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import BINARY, frame
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.messages import (
    ABSENT,
    EMPTY,
    REQUEST_NAMES,
    Command,
    ConnectRequest,
    FilterNode,
    HistoryRequest,
    PingRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    Reply,
    Request,
    RPCRequest,
    SendRequest,
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

_BYTES = (bytes,)
_PONG = Command()
_MAX_ID = 2**32 - 1
_MORE = 0x80  # the bit of a varint's byte that says that another follows
_MAX_LENGTH_BYTES = 5  # of a varint that holds 32 bits


class ProtobufCodec:
    """Varint-delimited Protobuf; payloads are bytes of any kind."""

    subprotocol = "centrifuge-protobuf"
    binary = True
    ping = frame(BINARY, b"\0")

    def decode(self, message: bytes) -> list[Command]:
        """Read the commands of one message.

        Raises:
            Disconnect: 3501 for whatever cannot be read, as the protocol wants it.
        """
        commands = []
        start, end = 0, len(message)
        while start < end:
            length = message[start]
            start += 1
            if length >= _MORE:
                length, start = _read_length(message, start - 1)
            stop = start + length
            if stop > end:
                raise Disconnect(DisconnectCode.BAD_REQUEST, "length beyond the message")
            commands.append(_read_command(message[start:stop]) if length else _PONG)
            start = stop
        if not commands:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "no command")
        return commands

    def encode(self, reply: Reply) -> bytes:
        """Build the frame of one reply or push."""
        # Both sides name their fields alike and leave out zero values; only payloads differ.
        values = to_builtins(reply, builtin_types=_BYTES, enc_hook=bytes)
        text = pb.Reply(**values).SerializeToString()
        return frame(BINARY, _write_length(len(text)) + text)

    def acknowledge(self, command_id: int) -> bytes:
        """Build the frame of the reply to a publish command."""
        return self.encode(Reply(id=command_id, publish=EMPTY))

    def delta_data(self, data: Raw, change: bytes | None = None) -> Raw:
        """Write a payload, or its patch, for a subscription whose payloads may be patches."""
        return data if change is None else Raw(change)


# Reading


def _read_length(message: bytes, start: int) -> tuple[int, int]:
    """Read a varint; returns it and where it ends."""
    value = 0
    for number, byte in enumerate(message[start : start + _MAX_LENGTH_BYTES]):
        value |= (byte & ~_MORE) << 7 * number
        if byte < _MORE:
            return value, start + number + 1
    raise Disconnect(DisconnectCode.BAD_REQUEST, "endless length")


def _read_command(encoded: bytes) -> Command:
    try:
        message = pb.Command.FromString(encoded)
    except DecodeError:
        raise Disconnect(DisconnectCode.BAD_REQUEST, "undecodable command") from None
    if message.id > _MAX_ID:
        raise Disconnect(DisconnectCode.BAD_REQUEST, "id over 32 bits")
    has = message.HasField
    for name, read in _REQUESTS:
        if has(name):
            request: dict[str, Any] = {name: read(getattr(message, name))}
            return Command(message.id, **request)
    return Command(message.id)


def _payload(data: bytes) -> Raw:
    # The very object: the JSON codec leaves out what is ABSENT, not what is empty.
    return Raw(data) if data else ABSENT


def _read_connect(message: pb.ConnectRequest) -> ConnectRequest:
    return ConnectRequest(
        token=message.token,
        data=_payload(message.data),
        subs={name: _read_subscribe(value) for name, value in message.subs.items()} or None,
        name=message.name,
        version=message.version,
    )


def _read_subscribe(message: pb.SubscribeRequest) -> SubscribeRequest:
    return SubscribeRequest(
        channel=message.channel,
        token=message.token,
        recover=message.recover,
        epoch=message.epoch,
        offset=message.offset,
        data=_payload(message.data),
        positioned=message.positioned,
        recoverable=message.recoverable,
        join_leave=message.join_leave,
        delta=message.delta,
        tf=_read_filter(message.tf) if message.HasField("tf") else None,
        flag=message.flag,
        type=message.type,
    )


def _read_filter(message: pb.FilterNode) -> FilterNode:
    # The parser has refused what nests over a hundred levels.
    return FilterNode(
        op=message.op,
        key=message.key,
        cmp=message.cmp,
        val=message.val,
        vals=tuple(message.vals),
        nodes=tuple(_read_filter(node) for node in message.nodes),
    )


def _read_history(message: pb.HistoryRequest) -> HistoryRequest:
    since = None
    if message.HasField("since"):
        since = StreamPosition(offset=message.since.offset, epoch=message.since.epoch)
    return HistoryRequest(
        channel=message.channel, limit=message.limit, since=since, reverse=message.reverse
    )


_READERS: dict[type[Request], Callable[[Any], Request]] = {
    ConnectRequest: _read_connect,
    PingRequest: lambda _: PingRequest(),
    SubscribeRequest: _read_subscribe,
    UnsubscribeRequest: lambda message: UnsubscribeRequest(message.channel),
    PublishRequest: lambda message: PublishRequest(message.channel, _payload(message.data)),
    PresenceRequest: lambda message: PresenceRequest(message.channel),
    PresenceStatsRequest: lambda message: PresenceStatsRequest(message.channel),
    HistoryRequest: _read_history,
    RPCRequest: lambda message: RPCRequest(_payload(message.data), message.method),
    SendRequest: lambda message: SendRequest(_payload(message.data)),
    RefreshRequest: lambda message: RefreshRequest(message.token),
    SubRefreshRequest: lambda message: SubRefreshRequest(message.channel, message.token),
}
# In the order in which the protocol looks for the request: where several are set, the first wins.
_REQUESTS = [(name, _READERS[kind]) for kind, name in REQUEST_NAMES.items()]


# Writing


def _write_length(length: int) -> bytes:
    if length < _MORE:
        return length.to_bytes()
    found = bytearray()
    while length >= _MORE:
        found.append(length & ~_MORE & 0xFF | _MORE)
        length >>= 7
    found.append(length)
    return bytes(found)
