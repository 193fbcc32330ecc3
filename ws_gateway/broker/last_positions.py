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

    Args:
        room: For how many channels; who was not heard of for the longest time makes room.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._positions: OrderedDict[str, Position] = OrderedDict()

    def __len__(self) -> int:
        """How many are known."""
        return len(self._positions)

    def __iter__(self) -> Iterator[tuple[str, Position]]:
        """List the channels and their positions as they are now."""
        return iter(list(self._positions.items()))

    def find(self, channel: str) -> Position:
        """Return a channel's, or NOWHERE."""
        return self._positions.get(channel, NOWHERE)

    def note(self, channel: str, position: Position) -> None:
        """Note where a stream is, or was: one further back changes nothing.

        Epochs of one length are in the order of their making; where the lengths differ, the one
        that was heard last counts.
        """
        known = self._positions.get(channel)
        if known is not None:
            epoch, last = position.epoch, known.epoch
            if epoch == last:
                if position.offset < known.offset:
                    return
            elif len(epoch) == len(last) and epoch < last:
                return
        self._positions[channel] = position
        self._positions.move_to_end(channel)
        if len(self._positions) > self._room:
            self._positions.popitem(last=False)
