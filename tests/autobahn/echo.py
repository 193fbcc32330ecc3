"""An application that says everything again, on the gateway's own protocol classes.

The Autobahn|Testsuite asks for an echo. What the gateway reads itself are commands, so this tests
all that lies below them: the request, the handshake, frames, compression and the close.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from typing_extensions import override

from tests.ws_gateway.raw_server import Application
from ws_gateway.codes import DisconnectCode
from ws_gateway.deflater import Deflater
from ws_gateway.frames import BINARY, TEXT, frame
from ws_gateway.server import TAKE_OVER
from ws_gateway.transport import Receiver, Transport

MAX_MESSAGE_BYTES = 16 * 2**20
"""The longest message of the testsuite (cases 9.1.6 and 9.2.6)."""


class Echo:
    """A connection that sends back what it gets, and ends as the gateway's own do.

    Args:
        transport: Its socket.
        deflater: Compresses what the client can read so.
    """

    def __init__(self, transport: Transport, deflater: Deflater) -> None:
        self._transport = transport
        self._deflater = deflater

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """See Receiver."""
        same = frame(BINARY if binary else TEXT, payload)
        self._transport.write(self._deflater.shrink(same) if self._transport.deflates else same)

    def seen(self) -> None:
        """See Receiver."""

    def stalled(self) -> None:
        """Take no more from a client that does not read what it gets."""
        self._transport.pause_reading()

    def drained(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """See Receiver."""
        self._transport.close(code, detail or "failed")

    def lost(self, code: int) -> None:
        """See Receiver."""


class Echoes(Application):
    """Gives every WebSocket an :class:`Echo`, compressed where it is offered."""

    def __init__(self) -> None:
        super().__init__()
        self._deflater = Deflater(min_bytes=1)

    @override
    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        scope["extensions"][TAKE_OVER](self._open, None, MAX_MESSAGE_BYTES, True)

    @override
    def _open(self, transport: Transport) -> Receiver:
        return Echo(transport, self._deflater)
