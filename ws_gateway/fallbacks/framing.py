"""How messages stand in the body of a response without end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """One way of telling messages apart.

    Attributes:
        media_type: Of the body.
        beginning: What the body begins with.
        before: What stands before each message.
        after: What stands behind it.
        breaks_at_returns: A carriage return would end a line here as well.
    """

    media_type: str
    beginning: bytes = b""
    before: bytes = b""
    after: bytes = b""
    breaks_at_returns: bool = False

    def wrap(self, message: bytes) -> bytes:
        """Return a message as it stands in the body."""
        if self.breaks_at_returns and b"\r" in message:
            # In JSON it can only stand between tokens, as a blank can.
            message = message.replace(b"\r", b" ")
        return self.before + message + self.after


LINES = Framing(media_type="application/x-ndjson", after=b"\n")
"""JSON, a message a line."""

LENGTHS = Framing(media_type="application/octet-stream")
"""Protobuf, whose messages begin with their length."""

EVENTS = Framing(
    media_type="text/event-stream",
    beginning=b"\r\n",  # some clients call the stream open when the first byte comes
    before=b"data: ",
    after=b"\n\n",
    breaks_at_returns=True,
)
"""JSON in server-sent events (the HTML standard's ``text/event-stream``)."""
