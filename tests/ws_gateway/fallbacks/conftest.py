"""A response of an ASGI server, and the connection it carries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.ws_gateway.conftest import settle
from ws_gateway.codes import DisconnectCode
from ws_gateway.fallbacks.framing import LINES, Framing
from ws_gateway.fallbacks.response_transport import ResponseTransport
from ws_gateway.protocol.codec import JSON, Codec


class Recorder:
    """A connection that notes what it is told, and ends when it is told to."""

    def __init__(self, transport: ResponseTransport) -> None:
        self.transport = transport
        self.events: list[tuple[str, Any]] = []

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """See Receiver."""
        self.events.append(("binary" if binary else "text", payload))

    def seen(self) -> None:
        """See Receiver."""
        raise AssertionError("there are no control frames")

    def stalled(self) -> None:
        """See Receiver."""
        self.events.append(("stalled", None))

    def drained(self) -> None:
        """See Receiver."""
        self.events.append(("drained", None))

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """See Receiver."""
        del detail
        self.events.append(("failed", code))
        assert isinstance(code, DisconnectCode)
        self.transport.close(code, code.reason)

    def lost(self, code: int) -> None:
        """See Receiver."""
        self.events.append(("lost", code))


class Line:
    """A server's side of one request, whose client may stop reading, or leave."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()
        self.cuts = 0
        self.task: asyncio.Task[None] | None = None

    def transport(
        self, *, codec: Codec = JSON, framing: Framing = LINES, max_kept_bytes: int = 1000
    ) -> ResponseTransport:
        """Make the transport."""
        return ResponseTransport(
            {"type": "http", "extensions": {"drawbridge.cut": self._cut}},
            self._receive,
            self._send,
            codec=codec,
            framing=framing,
            max_kept_bytes=max_kept_bytes,
        )

    async def open(self, **options: Any) -> Recorder:  # noqa: ANN401 - of the transport
        """Begin a response, and run a connection."""
        transport = self.transport(**options)
        await transport.begin()
        recorder = Recorder(transport)
        self.task = asyncio.create_task(transport.run(recorder, transport.gone()))
        await settle()
        return recorder

    async def ended(self) -> None:
        """Wait for the end of the connection."""
        assert self.task is not None
        async with asyncio.timeout(30):
            await self.task

    @property
    def body(self) -> bytes:
        """All that was sent behind the head."""
        return b"".join(message["body"] for message in self.sent[1:])

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:  # noqa: ANN401 - an ASGI message
        await self.reads.wait()
        self.sent.append(message)

    def _cut(self) -> None:
        self.cuts += 1
        self.left.set()


@pytest.fixture
def line() -> Line:
    """A request that has just come."""
    return Line()
