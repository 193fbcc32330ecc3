"""What happened, as those saw it who took part: one JSON array a line, appended as it happens.

All times are seconds of the machine's monotonic clock, which its processes share. A publication is
known by its ``id``, which is in its payload and is never used for a second attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

LOST = -1
"""In place of an error code: the connection was gone before the answer."""

CUT = 1006
"""In place of a close code: there was none (RFC 6455 section 7.4.1)."""


LEFT = 0
"""In place of a close code: the client ended it."""


class _Event(Struct, frozen=True, array_like=True, gc=False):
    """Something that happened at a moment."""

    at: float


class Sent(_Event, frozen=True, tag="sent"):
    """A client tries to publish."""

    client: str
    channel: str
    id: str


class Answered(_Event, frozen=True, tag="answered"):
    """The attempt was acknowledged (code 0), refused, or never answered (``LOST``)."""

    client: str
    id: str
    code: int


class Connected(_Event, frozen=True, tag="connected"):
    """A socket is there; ``gateway`` is who nginx says it chose, empty if that is not known."""

    client: str
    gateway: str = ""
    token: str = ""


class Refused(_Event, frozen=True, tag="refused"):
    """A handshake was answered with this status; 0 if nobody answered."""

    client: str
    status: int


class Closed(_Event, frozen=True, tag="closed"):
    """A socket is gone, with this code, or ``CUT``, or ``LEFT``."""

    client: str
    code: int


class Subscribed(_Event, frozen=True, tag="subscribed"):
    """A subscription begins.

    Attributes:
        epoch: Of the stream.
        offset: Its top, then.
        asked: The client wanted to go on where it was.
        recovered: It does: what it had missed follows as ``Received``.
    """

    client: str
    channel: str
    epoch: str
    offset: int
    asked: bool
    recovered: bool


class Received(_Event, frozen=True, tag="received"):
    """A publication arrived, which was sent at ``sent``."""

    client: str
    channel: str
    offset: int
    id: str
    sent: float


class Unsubscribed(_Event, frozen=True, tag="unsubscribed"):
    """The server ended a subscription, and said so."""

    client: str
    channel: str
    code: int


class Slow(_Event, frozen=True, tag="slow"):
    """A client has stopped to read."""

    client: str


class Drained(_Event, frozen=True, tag="drained"):
    """It has read again until the end, and so many bytes were still to be had."""

    client: str
    bytes: int


class Lag(_Event, frozen=True, tag="lag"):
    """A client's own process came too late by so many seconds: its times are no better."""

    process: str
    seconds: float


class Revoked(_Event, frozen=True, tag="revoked"):
    """The entry that ends a token was seen in the log; times of before may be hours ago."""

    token: str
    kind: str


class Kept(_Event, frozen=True, tag="kept"):
    """One look at a stream in Redis: entries that follow each other, offset and id."""

    channel: str
    entries: tuple[tuple[int, str], ...]


class Fault(_Event, frozen=True, tag="fault"):
    """A fault that was injected.

    Attributes:
        ended: When the last of it was taken back.
        healed: When all gateways called themselves ready again.
        kind: Of ``schedule.Kind``.
        target: What it befell.
        back: Of a Redis that was away: before this moment it could not answer; 0: not known.
    """

    ended: float
    healed: float
    kind: str
    target: str = ""
    back: float = 0.0


class Begun(_Event, frozen=True, tag="begun"):
    """A fault begins; what never becomes a ``Fault`` was not healed before the run ended."""

    kind: str


class Down(_Event, frozen=True, tag="down"):
    """A gateway's process was stopped, for good or for a while.

    Attributes:
        gateway: Which.
        until: When it went on, or another was ready in its place.
        kind: Of the fault that did it.
    """

    gateway: str
    until: float
    kind: str


class Unready(_Event, frozen=True, tag="unready"):
    """A gateway does not want connections, for these reasons; none: it does again."""

    gateway: str
    reasons: tuple[str, ...]


class SlowCut(_Event, frozen=True, tag="slowcut"):
    """A gateway has counted one more connection that was ended as too slow (3008)."""

    gateway: str


class End(_Event, frozen=True, tag="end"):
    """The last publication of a channel is acknowledged; everybody is to get it."""

    channel: str
    id: str


Event: TypeAlias = (
    Sent
    | Answered
    | Connected
    | Refused
    | Closed
    | Subscribed
    | Received
    | Unsubscribed
    | Slow
    | Drained
    | Lag
    | Revoked
    | Kept
    | Begun
    | Fault
    | Down
    | Unready
    | SlowCut
    | End
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


class Journal:
    """Appends events to a file; a process that is killed leaves what it had written.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=1 << 16)

    def note(self, event: Event) -> None:
        """Append one."""
        self._file.write(_encoder.encode(event) + b"\n")

    def flush(self) -> None:
        """Give what is buffered to the system."""
        self._file.flush()

    def close(self) -> None:
        """End."""
        self._file.close()


def read(paths: Iterable[Path]) -> list[Event]:
    """Read files into one history, in the order of the times.

    Raises:
        ValueError: A line is none of ours; the last one of a file may be cut off.
    """
    events: list[Event] = []
    for path in paths:
        text = path.read_bytes()
        complete = text[: text.rfind(b"\n") + 1]
        events += map(_decoder.decode, complete.splitlines())
    # Stable: what one process noted in one moment stays in its order.
    events.sort(key=_at)
    return events


def read_all(directory: Path) -> list[Event]:
    """Read what everybody has written in one run."""
    return read(sorted(directory.glob("*.jsonl")))


def write(path: Path, events: Iterable[Event]) -> None:
    """Write a history that was made up or changed."""
    journal = Journal(path)
    for event in events:
        journal.note(event)
    journal.close()


def _at(event: Event) -> float:
    return event.at
