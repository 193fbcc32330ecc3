"""Who was owed which message, and whether it came.

A message is owed to everyone whose subscription was confirmed before it was sent, and who is still
there a while after its publication was confirmed. What is published while somebody comes or goes is
owed to nobody. One process has all members of a room, so one clock does for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Publication:
    """One message, by its sender's account.

    Attributes:
        sequence: Its number, counted from 0 for each sender.
        sent_at: Seconds.
        confirmed_at: When the reply came, None until then.
    """

    sequence: int
    sent_at: float
    confirmed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What a stay in a room came to.

    Attributes:
        owed: How many messages had to come.
        lost: Sender and number of those that did not.
    """

    owed: int
    lost: list[tuple[int, int]]


@dataclass(slots=True)
class Stay:
    """One receiver's time in a room, from a confirmed subscription to its end.

    Attributes:
        since: When the subscription was confirmed.
        received: By sender, bit n for message n.
        latest: By sender, the highest number so far.
        duplicates: How many came twice.
        reordered: How many came after a later one of the same sender.
    """

    since: float
    received: dict[int, int] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    duplicates: int = 0
    reordered: int = 0

    def receive(self, sender: int, sequence: int) -> None:
        """Note a message."""
        seen, bit = self.received.get(sender, 0), 1 << sequence
        latest = self.latest.get(sender, -1)
        if seen & bit:
            self.duplicates += 1
        elif sequence < latest:
            self.reordered += 1
        self.received[sender] = seen | bit
        self.latest[sender] = max(latest, sequence)

    def has(self, sender: int, sequence: int) -> bool:
        """Return whether it came."""
        return bool(self.received.get(sender, 0) >> sequence & 1)


class Room:
    """All that was published in a room."""

    def __init__(self) -> None:
        self._publications: defaultdict[int, list[Publication]] = defaultdict(list)

    def publish(self, sender: int, at: float) -> Publication:
        """Note a message that is about to be sent; its number follows from those before it."""
        sent = self._publications[sender]
        publication = Publication(len(sent), at)
        sent.append(publication)
        return publication

    def balance(self, stay: Stay, *, left_at: float, settle_seconds: float) -> Balance:
        """Settle up with a receiver.

        Args:
            stay: Its time here.
            left_at: When it ended.
            settle_seconds: How long a message may take after its confirmation.
        """
        owed = list(self._owed(stay.since, left_at - settle_seconds))
        return Balance(len(owed), [message for message in owed if not stay.has(*message)])

    def _owed(self, since: float, until: float) -> Iterator[tuple[int, int]]:
        for sender, sent in self._publications.items():
            for publication in sent:
                confirmed_at = publication.confirmed_at
                if publication.sent_at >= since and confirmed_at and confirmed_at <= until:
                    yield sender, publication.sequence
