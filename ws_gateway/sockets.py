"""An open WebSocket on the event loop's own interface, without ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from typing_extensions import override

from ws_gateway.codes import DisconnectCode
from ws_gateway.deadlines import Deadlines, Expiring
from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameParser,
    close_frame,
    frame,
    is_close,
    parse_close,
)
from ws_gateway.transport import Receiver, Transport

OpenConnection = Callable[[Transport], Receiver]
"""Makes the connection that a transport belongs to."""

_ABNORMAL = 1006


class Socket(asyncio.Protocol, Expiring):
    """An open WebSocket: frames to messages on the way in, whole frames on the way out.

    The transport of a connection (see Transport) and the protocol of a socket in one object,
    because there are as many of it as there are clients.

    Args:
        transport: The event loop's.
        parser: For what comes in.
        closing: Bounds the wait for the peer's close frame.
        lingering: Bounds how long we read on, unseeing, after a peer that broke the framing:
            closing with unread data would reset the connection, and lose our close frame.
        deflates: The client reads compressed messages.
    """

    __slots__ = (
        "_closing",
        "_code",
        "_lingering",
        "_parser",
        "_paused",
        "_receiver",
        "_stalled",
        "_transport",
        "deflates",
        "write",
    )

    frame_pings = True

    def __init__(
        self,
        transport: asyncio.Transport,
        parser: FrameParser,
        *,
        closing: Deadlines,
        lingering: Deadlines,
        deflates: bool = False,
    ) -> None:
        self.deflates = deflates
        self._transport = transport
        # The event loop's own method: a delivery costs one call less (see Transport.write).
        self.write: Callable[[bytes], None] = transport.write
        self._parser: FrameParser | None = parser
        self._closing = closing
        self._lingering = lingering
        self._stalled = False
        self._receiver: Receiver | None = None
        self._code: int | None = None  # of the close frame that was sent
        self._paused = False

    def open(self, open_connection: OpenConnection) -> None:
        """Make the connection that this socket belongs to."""
        self._receiver = open_connection(self)

    # The event loop's side

    @override
    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            # The framing is lost, but an answer to our close frame mostly comes by itself. Who has
            # sent one has read ours, so that nothing is lost if there is more to be read.
            if self._code is not None and is_close(data):
                self._lingering.stop(self)
                self._transport.close()
            return
        whole = self._parser.take_whole(data)
        if whole is not None and whole.isascii() and self._receiver is not None:
            if self._code is None:
                self._receiver.receive(whole, binary=False)
            return
        try:
            for opcode, payload in self._parser.feed(data):
                self._dispatch(opcode, payload)
        except Disconnect as fault:
            self._parser = None
            self._lingering.start(self)
            if self._receiver is not None:
                self._receiver.failed(fault.code, fault.detail)

    def _dispatch(self, opcode: int, payload: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        if opcode == CLOSE:
            self._close_received(parse_close(payload))
        elif self._code is not None:
            return  # closing: only the peer's close frame counts
        elif opcode == TEXT:
            if not payload.isascii():
                _check_utf8(payload)
            receiver.receive(payload, binary=False)
        elif opcode == BINARY:
            receiver.receive(payload, binary=True)
        else:
            receiver.seen()
            # Of several pings only the last needs an answer (RFC 6455 section 5.5.3), so one that
            # a stalled peer would not read is left out.
            if opcode == PING and not self._stalled:
                self._transport.write(frame(PONG, payload))

    def _close_received(self, code: int) -> None:
        if self._code is None:
            # Our answer repeats the code; 1005 stands for none and is never sent.
            answer = DisconnectCode.NORMAL if code == 1005 else code  # noqa: PLR2004
            self._transport.write(close_frame(answer, ""))
        self._closing.start(self)  # a peer that does not read would keep close() waiting
        self._code = code
        self._transport.close()
        self._lose(code)

    def _lose(self, code: int) -> None:
        receiver, self._receiver = self._receiver, None  # they refer to each other
        if receiver is not None:
            receiver.lost(code)

    @override
    def eof_received(self) -> None:
        return None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._closing.stop(self)
        self._lingering.stop(self)
        self._lose(_ABNORMAL)

    @override
    def pause_writing(self) -> None:
        self._stalled = True
        if self._receiver is not None and self._code is None:
            self._receiver.stalled()

    @override
    def resume_writing(self) -> None:
        self._stalled = False
        if self._receiver is not None:
            self._receiver.drained()

    @override
    def expired(self) -> None:
        if self._parser is None and not self._transport.is_closing():
            self._transport.close()
        else:
            self._transport.abort()

    # The connection's side: see Transport

    def buffered(self) -> int:
        """See Transport."""
        return self._transport.get_write_buffer_size()

    def close(self, code: int, reason: str) -> None:
        """See Transport."""
        if self._code is not None:
            return
        self._code = int(code)
        self._transport.write(close_frame(code, reason))
        self._closing.start(self)
        self.resume_reading()

    def abort(self) -> None:
        """See Transport."""
        self._code = self._code or _ABNORMAL
        self._transport.abort()

    def pause_reading(self) -> None:
        """See Transport."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See Transport."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Disconnect(DisconnectCode.INVALID_UTF8) from None
