"""Which encodings there are, and what each must do."""

from __future__ import annotations

from typing import Protocol

from msgspec import Raw

from ws_gateway.protocol.json_codec import JSONCodec
from ws_gateway.protocol.messages import Command, Reply


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

    def check_data(self, data: Raw) -> bool:
        """Whether a client's payload may be handed to others in this encoding."""

    def encode(self, reply: Reply) -> bytes:
        """Build the frame of one reply or push."""


JSON: Codec = JSONCodec()
CODECS: dict[str, Codec] = {codec.subprotocol: codec for codec in (JSON,)}
