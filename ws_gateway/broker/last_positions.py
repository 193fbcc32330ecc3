"""Where the streams were that this process heard of lately; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from ws_gateway.broker.base import Position

NOWHERE = Position(0, "")
"""Of a stream that nothing is known of."""


class LastPositions:
    """The last known position of each channel, of as many as there is room for.

    A server that has lost the tail of a stream is found out by somebody who knows how far it had
    come. Whoever was subscribed may be away, but what was lost is what was published last; so it
    is enough to keep the channels that were heard of last.

    A publication that does not join what is known may be one of another stream with the same
    offsets: a server that has lost a tail, and was written to since, delivers before it is asked.
    What was known then is kept, to be asked about too.

    Args:
        room: For how many channels, and for how many doubts; who was not heard of for the longest
            time makes room.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._positions: OrderedDict[str, Position] = OrderedDict()
        self._doubted: OrderedDict[tuple[str, Position], None] = OrderedDict()

    def __len__(self) -> int:
        """How many are known, doubted ones too."""
        return len(self._positions) + len(self._doubted)

    def __iter__(self) -> Iterator[tuple[str, Position]]:
        """List what a server is to be asked about now: what is doubted, then all positions."""
        return iter([*self._doubted, *self._positions.items()])

    def find(self, channel: str) -> Position:
        """Return a channel's, or NOWHERE."""
        return self._positions.get(channel, NOWHERE)

    def note(self, channel: str, position: Position, previous: int | None = None) -> None:
        """Note where a stream is, or was: one further back changes nothing.

        Epochs of one length are in the order of their making; where the lengths differ, the one
        that was heard last counts.

        Args:
            channel: Of which.
            position: Where.
            previous: The mark of the entry before, if it was only heard of; None if the server was
                asked.
        """
        known = self._positions.get(channel)
        if known is not None:
            epoch, last = position.epoch, known.epoch
            if epoch == last:
                ahead = position.offset - known.offset
                if ahead < 0:
                    return
                if previous is not None and not (
                    (ahead == 1 and previous == known.mark)
                    or (ahead == 0 and position.mark == known.mark)
                ):
                    self._doubt(channel, known)
            elif len(epoch) == len(last) and epoch < last:
                return
        self._positions[channel] = position
        self._positions.move_to_end(channel)
        if len(self._positions) > self._room:
            self._positions.popitem(last=False)

    def settle(self, channel: str, position: Position) -> None:
        """Note that a server was asked about a position."""
        self._doubted.pop((channel, position), None)

    def _doubt(self, channel: str, position: Position) -> None:
        self._doubted[channel, position] = None
        self._doubted.move_to_end((channel, position))
        if len(self._doubted) > self._room:
            self._doubted.popitem(last=False)
