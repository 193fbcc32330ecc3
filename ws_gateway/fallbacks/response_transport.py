"""The transport of a connection whose messages leave in the body of one HTTP response."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Receive, Scope, Send
from typing_extensions import override

from ws_gateway.codes import DisconnectCode
from ws_gateway.fallbacks.framing import Framing
from ws_gateway.frames import split
from ws_gateway.protocol.codec import Codec
from ws_gateway.protocol.messages import DisconnectPush, Push, Reply
from ws_gateway.queued_transport import QueuedTransport
from ws_gateway.server import CUT

_ABNORMAL = 1006
_KEPT_MESSAGE_BYTES = 64  # what a waiting message costs beside its payload
_HEADERS = {
    # Neither a cache nor a proxy may keep or hold back any of it.
    "cache-control": "private, no-cache, no-store, must-revalidate, max-age=0",
    "pragma": "no-cache",
    "expires": "0",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


class ResponseTransport(QueuedTransport):
    """One response; see Transport.

    What the client says comes by other requests, through :meth:`take`.

    Args:
        scope: Of the request.
        receive: Its ASGI channel.
        send: Its ASGI channel.
        codec: In which the end is told; there is no close frame.
        framing: How messages are told apart.
        max_kept_bytes: What may come while the connection does not keep up.
    """

    batch_bytes = 64 * 1024

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        codec: Codec,
        framing: Framing,
        max_kept_bytes: int,
    ) -> None:
        super().__init__()
        self._receive = receive
        self._send = send
        self._codec = codec
        self._framing = framing
        self._max_kept_bytes = max_kept_bytes
        self._kept_bytes = 0
        self._paused = False
        self._cut: Callable[[], None] | None = scope.get("extensions", {}).get(CUT)

    # The client's side

    def take(self, message: bytes, *, binary: bool) -> None:
        """Hand a message of the client's to the connection.

        A connection that does not keep up with its client cannot make it wait, for each message is
        a request of its own: it is ended instead (3013).
        """
        if self.receiver is None or self.ending:
            return
        if self._paused:
            self._kept_bytes += len(message) + _KEPT_MESSAGE_BYTES
            if self._kept_bytes > self._max_kept_bytes:
                self.receiver.failed(DisconnectCode.TOO_MANY_REQUESTS, "emulation")
                return
        self.receiver.receive(message, binary=binary)

    async def begin(self) -> None:
        """Send the head of the response."""
        headers = {"content-type": self._framing.media_type} | _HEADERS
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        # With the first part of the body, so that a server sends the head at once.
        await self._send_body(self._framing.beginning)

    async def gone(self) -> int:
        """Wait until the client has gone; returns the code of a peer that said none."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        return _ABNORMAL

    # The connection's side

    @override
    async def send_messages(self, messages: list[tuple[int, bytes]]) -> None:
        await self._send_body(b"".join(self._framing.wrap(payload) for _, payload in messages))

    @override
    async def send_close(self, code: int, reason: str) -> None:
        push = Push(disconnect=DisconnectPush(code=int(code), reason=reason))
        ((_, payload),) = split(self._codec.encode(Reply(push=push)))
        await self._send_body(self._framing.wrap(payload), more=False)

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    @override
    def abort(self) -> None:
        super().abort()
        if self._cut is not None:
            self._cut()

    @property
    def was_cut(self) -> bool:
        """Whether the socket was cut, so that the server is about to say that it is gone."""
        return self._aborted and self._cut is not None

    def pause_reading(self) -> None:
        """See Transport."""
        self._paused = True

    def resume_reading(self) -> None:
        """See Transport."""
        self._paused = False
        self._kept_bytes = 0
