"""The outbound side of one connection: joins what is ready, and bounds what is not taken.

Frames that become ready in one turn of the event loop leave in one write: joining is the only
large lever on the cost of a delivery (a frame of its own costs one ``send`` each).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from ws_gateway.group import Group
from ws_gateway.transport import Transport

logger = logging.getLogger(__name__)

_TURNS_PER_LOOK = 16
_CROWD = 16  # below, to prepare costs more memory than it is worth
_NOBODY: frozenset[Writer] = frozenset()


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
        stalled: Those whose peer stopped reading.
        turn_ends: When its time is over, by the event loop's clock.
        turn_of: Whose commands are performed in this turn; None if nobody's have been.
        turns: In how many turns of the event loop something was written.
    """

    __slots__ = (
        "_call_soon",
        "_crowd",
        "_dirty",
        "_due",
        "_look",
        "_written",
        "bytes",
        "stalled",
        "turn_ends",
        "turn_of",
        "turns",
    )

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
        self.turns = 0
        self.turn_of: Writer | None = None
        self.turn_ends = 0.0
        self._due = False
        self._dirty: list[Writer] = []
        self._crowd: _Crowd | None = None
        self.stalled: set[Writer] = set()
        self.bytes = 0

    def add(self, writer: Writer) -> None:
        """Flush this writer in the next turn."""
        self._dirty.append(writer)
        if not self._due:
            self._due = True
            self._call_soon(self._flush)

    def spread(self, frame: bytes, writers: Iterable[Writer]) -> None:
        """Queue one frame for many; the same as ``send`` of each.

        But that, with the frames for one large group alone, an answer to one of them may leave
        behind what was sent to all of them after it.
        """
        crowd = self._crowd
        if crowd is not None:
            if crowd.is_still(writers):
                crowd.frames.append(frame)
                for writer in crowd.apart:
                    writer.send(frame)
                return
            self.settle()
        if isinstance(writers, Group) and len(writers) >= _CROWD and self._gather(frame, writers):
            return
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

    def settle(self) -> None:
        """Queue with each of a crowd what is queued for all of it: one of them is to be flushed.

        Whoever is told of a write by :meth:`_flush` must not spread anything at once: who waits in
        the rest of that turn would be given this before what it waits for.
        """
        crowd, self._crowd = self._crowd, None
        if crowd is None:
            return
        for writer in crowd.people.writes:
            if writer not in crowd.apart:
                if writer.pending is None:
                    self._dirty.append(writer)
                writer.queue_before(crowd.frames)

    def _gather(self, frame: bytes, group: Group[Writer]) -> bool:
        """Queue a frame for a large group, without touching anybody in it.

        What is done for each of thousands is most of what a delivery costs beside the system call,
        and half of that is to look at objects that no cache holds any more.

        Returns:
            Whether it was done; else it must be queued with each.
        """
        dirty = self._dirty
        if len(dirty) >= len(group):
            return False
        people = group.prepared
        if people is None:
            people = group.prepared = _People(group)
        if not people.alike:
            return False
        # What is queued with one of them alone came first.
        apart = group.intersection(dirty) if dirty else _NOBODY
        self._crowd = _Crowd(group, people, frame, apart)
        for writer in apart:
            writer.send(frame)
        if not self._due:
            self._due = True
            self._call_soon(self._flush)
        return True

    def _flush_crowd(self, crowd: _Crowd, dirty: list[Writer]) -> None:
        frames, writes = crowd.frames, crowd.people.writes
        alone = [writer for writer in dirty if writer in writes]
        if alone:
            writes = writes.copy()
            for writer in alone:
                # None if it is listed twice, or has had its part queued with it.
                if writes.pop(writer, None) is not None and writer not in crowd.apart:
                    writer.queue_before(frames)
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        left = iter(writes.values())
        while True:
            try:
                for write in left:
                    write(data)
                break
            except Exception:
                logger.exception("flush failed")
        self.bytes += len(data) * len(writes)
        for writer in self.stalled.intersection(writes) if self.stalled else ():
            try:
                writer.look()
            except Exception:
                logger.exception("flush failed")

    def _flush(self) -> None:
        self._due = False
        self.turn_of = None
        crowd, self._crowd = self._crowd, None
        dirty, self._dirty = self._dirty, []
        self.turns += 1
        if self.turns % _TURNS_PER_LOOK == 0:
            self._look(dirty[-1].depth if crowd is None else len(crowd.frames))
        if crowd is not None:
            self._flush_crowd(crowd, dirty)
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


class _People:
    """What is prepared for a group.

    Attributes:
        alike: A frame can be written to all as it is.
        writes: How to write to each.
    """

    __slots__ = ("alike", "writes")

    def __init__(self, group: Collection[Writer]) -> None:
        self.alike = all(writer.takes_as_is for writer in group)
        self.writes = {writer: writer.transport.write for writer in group} if self.alike else {}


class _Crowd:
    """A group for which frames are queued, with nobody of it.

    Attributes:
        people: The group as it was.
        frames: What for.
        apart: Those who have them queued with themselves.
    """

    __slots__ = ("_group", "apart", "frames", "people")

    def __init__(
        self, group: Group[Writer], people: _People, frame: bytes, apart: Collection[Writer]
    ) -> None:
        self._group = group
        self.people = people
        self.frames = [frame]
        self.apart = apart

    def is_still(self, writers: Iterable[Writer]) -> bool:
        """Whether it is this group, and has not changed."""
        return writers is self._group and self._group.prepared is self.people


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

    __slots__ = ("_flusher", "max_bytes", "pending", "stalled_since", "transport")

    def __init__(self, transport: Transport, flusher: Flusher, limits: WriteLimits) -> None:
        self.transport = transport
        self.stalled_since: float | None = None
        self.max_bytes = limits.max_queue_bytes
        self._flusher = flusher
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

    def queue_before(self, frames: list[bytes]) -> None:
        """Put frames before what is pending; whoever calls flushes it in this turn."""
        pending = self.pending
        if pending is None:
            self.pending = frames[0] if len(frames) == 1 else list(frames)
        elif isinstance(pending, list):
            self.pending = frames + pending
        else:
            self.pending = [*frames, pending]

    @property
    def depth(self) -> int:
        """How many frames are pending."""
        pending = self.pending
        return len(pending) if isinstance(pending, list) else int(pending is not None)

    def flush(self) -> bool:
        """Write what is pending; False if the reader left too much lying and was cut off."""
        self._flusher.settle()
        pending, self.pending = self.pending, None
        if pending is None:
            return True
        data = b"".join(pending) if isinstance(pending, list) else pending
        self._flusher.bytes += len(data)
        self.transport.write(data)
        # Asked only of a peer known to lag, so that the others do not pay for it.
        return self.stalled_since is None or self.look()

    def stall(self, now: float) -> None:
        """Note that the peer has stopped reading."""
        self.stalled_since = now
        self._flusher.stalled.add(self)

    def read_on(self) -> None:
        """Note that it reads again."""
        self.stalled_since = None
        self._flusher.stalled.discard(self)

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
        """Forget what is pending, and whether it reads: it has ended."""
        flusher = self._flusher
        flusher.settle()
        flusher.stalled.discard(self)
        if flusher.turn_of is self:
            flusher.turn_of = None
        self.pending = None

    def slow(self, reason: SlowReason) -> bool:
        """Called when the peer exceeds a limit; the connection does what is to be done.

        Returns:
            Whether it goes on; False if it was cut off.
        """
        raise NotImplementedError
