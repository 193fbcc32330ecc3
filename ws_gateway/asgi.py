"""A WebSocket over plain ASGI: for the test client, and for servers other than our own.

ASGI carries messages, not frames, so the joined frames of the writer are taken apart again, and
ping frames cannot be sent: the server has to watch its peers itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.websockets import WebSocket
from typing_extensions import override

from ws_gateway.frames import TEXT
from ws_gateway.queued_transport import QueuedTransport
from ws_gateway.transport import Receiver, Transport

_ABNORMAL = 1006


class ASGITransport(QueuedTransport):
    """An accepted Starlette WebSocket; see Transport."""

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__()
        self._websocket = websocket
        self._readable = asyncio.Event()
        self._readable.set()

    @override
    async def send_messages(self, messages: list[tuple[int, bytes]]) -> None:
        for opcode, payload in messages:
            if opcode == TEXT:
                await self._websocket.send_text(payload.decode())
            else:
                await self._websocket.send_bytes(payload)

    @override
    async def send_close(self, code: int, reason: str) -> None:
        await self._websocket.close(code, reason)

    @override
    def close(self, code: int, reason: str) -> None:
        super().close(code, reason)
        self._readable.set()

    def pause_reading(self) -> None:
        """See Transport."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """See Transport."""
        self._readable.set()

    async def readable(self) -> None:
        """Wait until reading is not paused."""
        await self._readable.wait()


async def run(websocket: WebSocket, open_connection: Callable[[Transport], Receiver]) -> None:
    """Run a connection over an accepted WebSocket until it ends.

    Args:
        websocket: Has been accepted.
        open_connection: Makes the connection around its transport.
    """
    transport = ASGITransport(websocket)
    receiver = open_connection(transport)
    await transport.run(receiver, _receive(websocket, transport, receiver))


async def _receive(websocket: WebSocket, transport: ASGITransport, receiver: Receiver) -> int:
    while True:
        await transport.readable()
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            code: int = message.get("code") or _ABNORMAL
            return code
        text = message.get("text")
        if text is not None:
            # Python strings may hold what UTF-8 cannot; such a text came from no valid frame.
            receiver.receive(text.encode(errors="replace"), binary=False)
        else:
            receiver.receive(message["bytes"], binary=True)
