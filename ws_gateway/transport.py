"""The narrow interface between a connection and whatever carries its frames."""

from __future__ import annotations

from typing import Protocol

from ws_gateway.codes import DisconnectCode


class Transport(Protocol):
    """What a connection may do to its socket."""

    frame_pings: bool
    """Whether ping frames can be sent and pongs seen; plain ASGI can do neither."""

    deflates: bool
    """Whether messages may be compressed."""

    def write(self, data: bytes) -> None:
        """Send one or more whole frames; never blocks, never raises."""

    def buffered(self) -> int:
        """Bytes accepted by :meth:`write` that the kernel has not taken yet."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after what was written, then end; idempotent."""

    def abort(self) -> None:
        """End at once and drop what is buffered; for peers that do not read."""

    def pause_reading(self) -> None:
        """Stop calling the receiver until :meth:`resume_reading`."""

    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""


class Receiver(Protocol):
    """What a transport tells its connection; every call returns at once."""

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """One whole message came; text has been checked to be UTF-8."""

    def seen(self) -> None:
        """A control frame came: the peer lives."""

    def stalled(self) -> None:
        """The peer does not take what was written."""

    def drained(self) -> None:
        """The peer reads again."""

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """The peer broke RFC 6455; the transport closes with this code."""

    def lost(self, code: int) -> None:
        """The socket is gone: the peer's close code, or 1006 if there was none. Called once."""
