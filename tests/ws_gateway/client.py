"""A client that reads what it is sent as the official SDKs do, in both encodings.

It applies patches with the official Python SDK's own code, finds a channel by its number, and
knows at any time where it would go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
from centrifuge.fossil import apply_delta

from tests.ws_gateway.conftest import Gateway, settle
from ws_gateway.credentials import Credentials
from ws_gateway.frames import split
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.codec import Codec
from ws_gateway.protocol.messages import Reply

_read_reply = msgspec.json.Decoder(Reply).decode


@dataclass
class Subscribed:
    """What a client knows of one subscription.

    Attributes:
        wish: What it subscribes with, beside its position.
        payloads: What it was given, whole, in order.
        offsets: Their places in the stream.
        patches: How many of them came as patches.
        pending: It waits for the answer to a subscribe.
        told: How often it was told that it has missed something.
    """

    wish: dict[str, Any] = field(default_factory=dict)
    active: bool = False
    pending: bool = False
    number: int = 0
    delta: bool = False
    base: bytes | None = None
    offset: int = 0
    epoch: str = ""
    payloads: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    patches: int = 0
    changes: int = 0
    told: int = 0


class Client:
    """One user's program, over as many connections as it takes."""

    def __init__(self, gateway: Gateway, credentials: Credentials, codec: Codec) -> None:
        self.gateway = gateway
        self.credentials = credentials
        self.codec = codec
        self.channels: dict[str, Subscribed] = {}
        self.errors: list[int] = []
        self._id = 0
        self._asked: dict[int, dict[str, Any]] = {}

    async def connect(self) -> None:
        """Open a connection."""
        await self.open()
        for one in self.channels.values():
            one.active = one.pending = False
            one.number = 0
        await self.ask(connect={})

    async def open(self) -> None:
        """Open a connection, and say nothing."""
        self.connection, self.transport = self.gateway.open(self.credentials, codec=self.codec)

    @property
    def closed(self) -> int | None:
        """The code that the gateway closed with."""
        return self.transport.closed[0] if self.transport.closed is not None else None

    def lose(self) -> None:
        """Lose the connection."""
        self.connection.lost(1006)
        for one in self.channels.values():
            one.active = one.pending = False

    async def subscribe(self, channel: str, **wish: object) -> None:
        """Subscribe, and go on where it broke off if it was there before."""
        one = self.channels.setdefault(channel, Subscribed(dict(wish)))
        request: dict[str, Any] = {"channel": channel, **one.wish}
        if one.epoch:
            request |= {"recover": True, "offset": one.offset, "epoch": one.epoch}
        one.pending = True
        await self.ask(subscribe=request)

    async def ask(self, **request: Any) -> None:  # noqa: ANN401 - whatever stands in a command
        """Send a command, and read what comes."""
        self._id += 1
        self._asked[self._id] = request
        if self.codec.binary:
            command = pb.Command(id=self._id, **request).SerializeToString()
            message = write_varint(len(command)) + command
        else:
            message = json.dumps({"id": self._id, **request}).encode()
        self.connection.receive(message, binary=self.codec.binary)
        await self.read()

    async def read(self) -> None:
        """Read what has come."""
        for reply in await self.replies():
            self._take(reply)

    async def replies(self) -> list[Any]:
        """Return what has come, unread."""
        await settle()
        frames = b"".join(self.transport.writes)
        self.transport.writes.clear()
        found = []
        for _, content in split(frames):
            assert len(content) < 1 << 20
            found += self._decode(content)
        return found

    @staticmethod
    def is_push(reply: Any) -> bool:  # noqa: ANN401 - of either encoding
        """Whether a reply is none to a command."""
        return _has(reply, "push")

    @staticmethod
    def error(reply: Any) -> int:  # noqa: ANN401 - of either encoding
        """Return the code of a reply's error, 0 if it has none."""
        return int(reply.error.code) if _has(reply, "error") else 0

    def _decode(self, content: bytes) -> list[Any]:
        if not self.codec.binary:
            return [_read_reply(line) for line in content.split(b"\n")]
        found, start = [], 0
        while start < len(content):
            length, start = _read_varint(content, start)
            found.append(pb.Reply.FromString(content[start : start + length]))
            start += length
        return found

    def _take(self, reply: Any) -> None:  # noqa: ANN401 - of either encoding
        if _has(reply, "push"):
            self._take_push(reply.push)
            return
        request = self._asked.pop(reply.id)
        if _has(reply, "error"):
            self.errors.append(reply.error.code)
        elif "subscribe" in request:
            self._begin(self.channels[request["subscribe"]["channel"]], reply.subscribe)

    def _begin(self, one: Subscribed, result: Any) -> None:  # noqa: ANN401
        recovering = bool(one.epoch)
        if recovering and not result.recovered:
            one.told += 1
        one.active, one.pending = True, False
        one.number, one.delta = result.id, result.delta
        one.offset, one.epoch = result.offset, result.epoch
        for publication in result.publications:
            self._take_publication(one, publication)

    def _take_push(self, push: Any) -> None:  # noqa: ANN401
        if push.id:
            assert not push.channel
            (one,) = [one for one in self.channels.values() if one.number == push.id and one.active]
        else:
            one = self.channels[push.channel]
            assert not one.number or _has(push, "unsubscribe")
        assert one.active
        if _has(push, "pub"):
            self._take_publication(one, push.pub)
        elif _has(push, "unsubscribe"):
            assert push.unsubscribe.code == 2500
            one.active = False
        else:
            one.changes += 1

    def _take_publication(self, one: Subscribed, publication: Any) -> None:  # noqa: ANN401
        data = bytes(publication.data)
        if one.delta:
            if not self.codec.binary:
                text = json.loads(data)
                assert isinstance(text, str)
                data = text.encode()
            if publication.delta:
                assert one.base is not None
                data = bytes(apply_delta(one.base, data))
                one.patches += 1
            one.base = data
        else:
            assert not publication.delta
        one.payloads.append(data)
        one.offsets.append(publication.offset)
        if publication.offset:
            one.offset = publication.offset
        if publication.epoch:
            one.epoch = publication.epoch


def _has(message: Any, name: str) -> bool:  # noqa: ANN401
    if isinstance(message, msgspec.Struct):
        return getattr(message, name) is not None
    return bool(message.HasField(name))


def write_varint(value: int) -> bytes:
    """Write a length as Protobuf has it."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _read_varint(content: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, start
