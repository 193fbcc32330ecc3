"""What carries commands from the gateway they reached to the one that has the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from ws_gateway.fallbacks.emulation_request import EmulatedCommands

RelayHandler = Callable[[EmulatedCommands, str | None], None]
"""Takes a request that was sent to this node, and the origin it came from. Synchronous and quick,
must not raise."""


class Relay(Protocol):
    """Carries requests between nodes, each at most once, and those of one node in order."""

    async def start(self, node: str, handler: RelayHandler) -> None:
        """Begin to take requests for this node; ``handler`` is called for each."""

    async def stop(self) -> None:
        """End; the handler is not called any more."""

    @property
    def ready(self) -> bool:
        """Whether requests for this node arrive."""

    async def forward(self, request: EmulatedCommands, origin: str | None) -> bool:
        """Send a request to its node; False if there is no such node.

        Raises:
            BrokerUnavailable: It cannot be sent now.
        """


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request on its way, as a MessagePack array.

    Fields may be added at the end without a new version; older gateways pass over them.
    """

    version: Literal[1]
    node: str
    session: str
    data: bytes
    binary: bool
    origin: str | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode


def write_request(request: EmulatedCommands, origin: str | None) -> bytes:
    """Encode a request for its way."""
    return _encode(
        _Message(
            version=1,
            node=request.node,
            session=request.session,
            data=request.data,
            binary=request.binary,
            origin=origin,
        )
    )


def read_request(payload: bytes) -> tuple[EmulatedCommands, str | None]:
    """Decode a request, and the origin it came from.

    Raises:
        ValueError: It is not one of ours.
    """
    message = _decode(payload)  # msgspec's errors are of this kind
    request = EmulatedCommands(message.node, message.session, message.data, message.binary)
    return request, message.origin
