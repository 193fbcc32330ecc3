"""Which encodings there are, and what each must do."""

from __future__ import annotations

from typing import Protocol

from msgspec import Raw

from ws_gateway.protocol.json_codec import JSONCodec
from ws_gateway.protocol.messages import Command, Reply
from ws_gateway.protocol.protobuf_codec import ProtobufCodec


class Codec(Protocol):
    """One encoding of the protocol; stateless, shared by all connections."""

    @property
    def subprotocol(self) -> str:
        """The name clients offer for it in ``Sec-WebSocket-Protocol``."""

    @property
    def binary(self) -> bool:
        """Whether its messages are binary; the other kind is refused."""

    @property
    def ping(self) -> bytes:
        """The frame of an empty reply, the server's ping."""

    def decode(self, message: bytes) -> list[Command]:
        """Read the commands of one message, at least one; Disconnect 3501 if that fails."""

    def encode(self, reply: Reply) -> bytes:
        """Build the frame of one reply or push; Disconnect 3506 if it cannot be said."""

    def acknowledge(self, command_id: int) -> bytes:
        """Build the frame of the reply to a publish command; there is nothing in it."""

    def delta_data(self, data: Raw, change: bytes | None = None) -> Raw:
        """Write a payload for a subscription whose payloads may be patches.

        Args:
            data: The payload.
            change: The patch that stands for it; None for the payload itself.

        Raises:
            Disconnect: 3506 if the payload cannot be said.
        """


JSON: Codec = JSONCodec()
PROTOBUF: Codec = ProtobufCodec()
CODECS: dict[str, Codec] = {codec.subprotocol: codec for codec in (JSON, PROTOBUF)}
