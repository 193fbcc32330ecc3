"""What two transports share: a queue, its bound and its end (test_asgi.py has the rest)."""

from __future__ import annotations

import asyncio

from typing_extensions import override

from tests.ws_gateway.conftest import settle
from ws_gateway.frames import BINARY, PING, TEXT, frame
from ws_gateway.queued_transport import QueuedTransport


class Batches(QueuedTransport):
    """Sends messages by tens of bytes, once it may."""

    batch_bytes = 10

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.sent: list[list[tuple[int, bytes]]] = []
        self.closed: tuple[int, str] | None = None

    @override
    async def send_messages(self, messages: list[tuple[int, bytes]]) -> None:
        await self.may.wait()
        self.sent.append(messages)

    @override
    async def send_close(self, code: int, reason: str) -> None:
        self.closed = code, reason


async def test_messages_leave_in_batches_of_a_bounded_size() -> None:
    """At least one at a time, however large, and in order."""
    transport = Batches()
    for size in (4, 4, 4, 30, 1):
        transport.write(frame(BINARY, b"x" * size))
    transport.write(frame(PING, b""))
    transport.close(3001, "shutdown")
    transport.may.set()
    await transport.send_all()

    assert [[len(payload) for _, payload in batch] for batch in transport.sent] == [
        [4, 4],
        [4],
        [30],
        [1],
    ]
    assert transport.buffered() == 0
    assert transport.closed == (3001, "shutdown")


async def test_what_is_being_sent_counts_as_waiting() -> None:
    """Until the server has taken it."""
    transport = Batches()
    transport.write(frame(TEXT, b"four"))
    sending = asyncio.create_task(transport.send_all())
    await settle()
    waiting = transport.buffered()
    transport.may.set()
    await settle()
    sending.cancel()

    assert (waiting, transport.buffered()) == (4, 0)
    assert not transport.ending


async def test_it_knows_that_it_is_ending() -> None:
    """From the moment on at which the connection says so."""
    closed, aborted = Batches(), Batches()
    closed.close(3001, "shutdown")
    aborted.abort()

    assert closed.ending
    assert aborted.ending
