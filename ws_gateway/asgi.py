"""A connection over plain ASGI: for the test client, and for servers other than our own.

ASGI carries messages, not frames, so the joined frames of the writer are taken apart again, and
ping frames cannot be sent: the server has to watch its peers itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from ws_gateway.frames import BINARY, TEXT, split
from ws_gateway.transport import Receiver, Transport

_HIGH_WATER = 64 * 1024
_ABNORMAL = 1006


class ASGITransport:
    """Queues messages for an accepted Starlette WebSocket; see Transport."""

    frame_pings = False

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._queue: deque[tuple[int, bytes]] = deque()
        self._buffered = 0
        self._wake = asyncio.Event()
        self._readable = asyncio.Event()
        self._readable.set()
        self._close: tuple[int, str] | None = None
        self._aborted = False
        self.receiver: Receiver | None = None
        self.sending: asyncio.Task[None] | None = None
        self._stalled = False

    def write(self, data: bytes) -> None:
        """See Transport."""
        for opcode, payload in split(data):
            if opcode in (TEXT, BINARY):
                self._queue.append((opcode, payload))
                self._buffered += len(payload)
        self._wake.set()
        if self._buffered > _HIGH_WATER and not self._stalled and self.receiver is not None:
            self._stalled = True
            self.receiver.stalled()

    def buffered(self) -> int:
        """See Transport."""
        return self._buffered

    def close(self, code: int, reason: str) -> None:
        """See Transport."""
        self._close = self._close or (code, reason)
        self._wake.set()
        self._readable.set()

    def abort(self) -> None:
        """See Transport."""
        self._aborted = True
        if self.sending is not None:
            self.sending.cancel()  # it may be waiting for a peer that does not read

    def pause_reading(self) -> None:
        """See Transport."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """See Transport."""
        self._readable.set()

    async def readable(self) -> None:
        """Wait until reading is not paused."""
        await self._readable.wait()

    async def send_all(self) -> None:
        """Send what is queued, until the transport is closed or aborted."""
        while not self._aborted:
            if self._queue:
                opcode, payload = self._queue.popleft()
                if opcode == TEXT:
                    await self._websocket.send_text(payload.decode())
                else:
                    await self._websocket.send_bytes(payload)
                self._buffered -= len(payload)
                if self._stalled and not self._buffered and self.receiver is not None:
                    self._stalled = False
                    self.receiver.drained()
            elif self._close is not None:
                await self._websocket.close(*self._close)
                return
            else:
                self._wake.clear()
                await self._wake.wait()


async def run(websocket: WebSocket, open_connection: Callable[[Transport], Receiver]) -> None:
    """Run a connection over an accepted WebSocket until it ends.

    Args:
        websocket: Has been accepted.
        open_connection: Makes the connection around its transport.
    """
    transport = ASGITransport(websocket)
    receiver = transport.receiver = open_connection(transport)
    code = _ABNORMAL
    sending = transport.sending = asyncio.create_task(transport.send_all())
    receiving = asyncio.create_task(_receive(websocket, transport, receiver))
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            code = receiving.result()
    finally:
        receiver.lost(code)
        sending.cancel()
        receiving.cancel()
        # Not ``gather``: it would hide from the server's framework who cancelled us.
        await asyncio.wait({sending, receiving})
    for task in (sending, receiving):
        error = None if task.cancelled() else task.exception()
        # A peer that vanished while we sent shows as one of these two, depending on the server.
        if error is not None and not isinstance(error, OSError | WebSocketDisconnect):
            raise error


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
