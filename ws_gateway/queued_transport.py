"""The outbound queue of a connection that an ASGI server carries, and the end of it.

An ASGI ``send`` waits where a peer does not read, and a connection never does: what it writes is
queued here, as messages, since frames are none of ASGI's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocketDisconnect

from ws_gateway.frames import BINARY, TEXT, split
from ws_gateway.transport import Receiver

_HIGH_WATER = 64 * 1024
_ABNORMAL = 1006


class QueuedTransport:
    """Queues messages for whoever sends them; see Transport.

    Attributes:
        receiver: The connection, once it is made.
        sending: What runs :meth:`send_all`.
    """

    frame_pings = False
    deflates = False  # where the server does, it does so by itself
    batch_bytes = 0
    """How many bytes of messages are sent at once; at least one message is."""

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.sending: asyncio.Task[None] | None = None
        self._queue: deque[tuple[int, bytes]] = deque()
        self._buffered = 0
        self._wake = asyncio.Event()
        self._close: tuple[int, str] | None = None
        self._aborted = False
        self._stalled = False

    async def send_messages(self, messages: list[tuple[int, bytes]]) -> None:
        """Send messages, each with its opcode; may wait for the peer."""
        raise NotImplementedError

    async def send_close(self, code: int, reason: str) -> None:
        """End the conversation."""
        raise NotImplementedError

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

    def abort(self) -> None:
        """See Transport."""
        self._aborted = True
        if self.sending is not None:
            self.sending.cancel()  # it may be waiting for a peer that does not read

    @property
    def ending(self) -> bool:
        """Whether the connection has ended it; what is queued may still be on its way."""
        return self._aborted or self._close is not None

    async def send_all(self) -> None:
        """Send what is queued, until the transport is closed or aborted."""
        while not self._aborted:
            if self._queue:
                messages, size = self._take()
                await self.send_messages(messages)
                self._buffered -= size
                if self._stalled and not self._buffered and self.receiver is not None:
                    self._stalled = False
                    self.receiver.drained()
            elif self._close is not None:
                await self.send_close(*self._close)
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> tuple[list[tuple[int, bytes]], int]:
        messages = [self._queue.popleft()]
        size = len(messages[0][1])
        while self._queue and size + len(self._queue[0][1]) <= self.batch_bytes:
            messages.append(self._queue.popleft())
            size += len(messages[-1][1])
        return messages, size

    async def run(self, receiver: Receiver, receiving: Coroutine[Any, Any, int]) -> None:
        """Carry a connection until it ends.

        Args:
            receiver: The connection.
            receiving: Ends when the peer has gone, and returns its code.
        """
        self.receiver = receiver
        code = _ABNORMAL
        sending = self.sending = asyncio.create_task(self.send_all())
        listening = asyncio.create_task(receiving)
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                code = listening.result()
        finally:
            receiver.lost(code)
            sending.cancel()
            listening.cancel()
            # Not ``gather``: it would hide from the server's framework who cancelled us.
            await asyncio.wait({sending, listening})
        for task in (sending, listening):
            error = None if task.cancelled() else task.exception()
            # A peer that vanished while we sent shows as one of these two, depending on the server.
            if error is not None and not isinstance(error, OSError | WebSocketDisconnect):
                raise error
