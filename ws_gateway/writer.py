"""The outbound side of one connection: joins what is ready, and bounds what is not taken.

Frames that become ready in one turn of the event loop leave in one write: joining is the only
large lever on the cost of a delivery (a frame of its own costs one ``send`` each).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from ws_gateway.transport import Transport

logger = logging.getLogger(__name__)

_TURNS_PER_LOOK = 16


class SlowReason(StrEnum):
    """Which limit a peer passed that does not read."""

    BYTES = "bytes"
    STALL = "stall"


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How much of a slow reader is put up with.

    Attributes:
        max_queue_bytes: Bytes that may wait for a peer that does not read.
        max_stall_seconds: How long it may not read at all.
    """

    max_queue_bytes: int
    max_stall_seconds: float


class Flusher:
    """The writers of one process that have something pending; flushed once per loop turn.

    Args:
        call_soon: The event loop's.
        written: Called after the writes of a turn.
        look: Called with how many frames left in one write, for one writer of some turns.

    Attributes:
        bytes: How many were written.
    """

    __slots__ = ("_call_soon", "_dirty", "_due", "_look", "_turns", "_written", "bytes")

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        written: Callable[[], None] = lambda: None,
        look: Callable[[int], None] = lambda _frames: None,
    ) -> None:
        self._call_soon = call_soon
        self._written = written
        self._look = look
        self._turns = 0
        self._due = False
        self._dirty: list[Writer] = []
        self.bytes = 0

    def add(self, writer: Writer) -> None:
        """Flush this writer in the next turn."""
        self._dirty.append(writer)
        if not self._due:
            self._due = True
            self._call_soon(self._flush)

    def spread(self, frame: bytes, writers: Iterable[Writer]) -> None:
        """Queue one frame for many; the same as ``send`` of each.

        A call for each of them would be a tenth of what a delivery costs.
        """
        dirty = self._dirty
        for writer in writers:
            if writer.pending is None and writer.takes_as_is:
                writer.pending = frame
                dirty.append(writer)
            else:
                writer.send(frame)
        if dirty and not self._due:
            self._due = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        dirty, self._dirty = self._dirty, []
        self._turns += 1
        if self._turns % _TURNS_PER_LOOK == 0:
            self._look(dirty[-1].depth)
        written = 0
        for writer in dirty:
            try:
                # What Writer.flush does, without the call.
                data, writer.pending = writer.pending, None
                if data is None:
                    continue
                if isinstance(data, list):
                    data = b"".join(data)
                written += len(data)
                writer.transport.write(data)
                if writer.stalled_since is not None:
                    writer.look()
            except Exception:
                # The others of this turn would wait for ever: they count as queued.
                logger.exception("flush failed")
        self.bytes += written
        self._written()


class Writer:
    """A bounded outbound queue in front of a transport.

    Args:
        transport: Takes the joined frames.
        flusher: The process's.
        limits: The process's.

    Attributes:
        max_bytes: What may wait in the transport now.
        pending: What waits for the end of this loop turn; one frame is the common case, and needs
            no list.
        stalled_since: When the peer stopped reading; None while it reads.
        takes_as_is: A frame of a channel is written as it is.
        transport: See above.
    """

    takes_as_is: ClassVar[bool] = True

    __slots__ = ("_flusher", "_write_limits", "max_bytes", "pending", "stalled_since", "transport")

    def __init__(self, transport: Transport, flusher: Flusher, limits: WriteLimits) -> None:
        self.transport = transport
        self.stalled_since: float | None = None
        self.max_bytes = limits.max_queue_bytes
        self._flusher = flusher
        self._write_limits = limits
        self.pending: bytes | list[bytes] | None = None

    def send(self, frame: bytes) -> None:
        """Queue a frame for the end of this loop turn."""
        pending = self.pending
        if pending is None:
            self.pending = frame
            self._flusher.add(self)
        elif isinstance(pending, list):
            pending.append(frame)
        else:
            self.pending = [pending, frame]

    @property
    def depth(self) -> int:
        """How many frames are pending."""
        pending = self.pending
        return len(pending) if isinstance(pending, list) else int(pending is not None)

    def flush(self) -> bool:
        """Write what is pending; False if the reader left too much lying and was cut off."""
        pending, self.pending = self.pending, None
        if pending is None:
            return True
        data = b"".join(pending) if isinstance(pending, list) else pending
        self._flusher.bytes += len(data)
        self.transport.write(data)
        # Asked only of a peer known to lag, so that the others do not pay for it.
        return self.stalled_since is None or self.look()

    def look(self) -> bool:
        """See whether a peer that lags has left too much lying; False if it was cut off."""
        return self.transport.buffered() <= self.max_bytes or self.slow(SlowReason.BYTES)

    @property
    def queued(self) -> int:
        """How many bytes wait, here and in the transport."""
        pending = self.pending or b""
        waiting = sum(map(len, pending)) if isinstance(pending, list) else len(pending)
        return waiting + self.transport.buffered()

    def discard(self) -> None:
        """Forget what is pending."""
        self.pending = None

    def slow(self, reason: SlowReason) -> bool:
        """Called when the peer exceeds a limit; the connection does what is to be done.

        Returns:
            Whether it goes on; False if it was cut off.
        """
        raise NotImplementedError
