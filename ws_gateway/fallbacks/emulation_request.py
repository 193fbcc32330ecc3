"""The body of a request that brings a client's commands."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from google.protobuf.message import DecodeError

from ws_gateway.fallbacks import emulation_pb2 as pb


@dataclass(frozen=True, slots=True)
class EmulatedCommands:
    """What a client sends beside its response.

    Attributes:
        node: Where its connection is.
        session: Which one it is. Whoever knows it can speak for the client.
        data: Commands, as one message of a WebSocket would have them.
        binary: They are Protobuf.
    """

    node: str
    session: str = field(repr=False)
    data: bytes = field(repr=False)
    binary: bool


class _Body(msgspec.Struct, frozen=True):
    session: str
    node: str
    data: str


_decode = msgspec.json.Decoder(_Body).decode


def read_emulation(body: bytes, *, binary: bool) -> EmulatedCommands:
    """Read a body: JSON, or Protobuf if ``binary``.

    Raises:
        ValueError: It is none, or something is missing in it; the text quotes nothing of it.
    """
    try:
        if binary:
            message = pb.EmulationRequest.FromString(body)
            request = EmulatedCommands(message.node, message.session, message.data, binary)
        else:
            text = _decode(body)
            request = EmulatedCommands(text.node, text.session, text.data.encode(), binary)
    except (msgspec.MsgspecError, DecodeError, RecursionError, UnicodeError):
        raise ValueError("not an emulation request") from None
    if not (request.node and request.session and request.data):
        raise ValueError("incomplete emulation request")
    return request
