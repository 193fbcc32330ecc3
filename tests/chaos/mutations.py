"""Bugs that are put into a history, as if a gateway had had them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from tests.chaos.history import (
    CUT,
    Answered,
    Closed,
    Event,
    Kept,
    Received,
    Revoked,
    Sent,
    Subscribed,
    Unsubscribed,
)

Mutation = Callable[[Sequence[Event], random.Random], list[Event]]
LATE_SECONDS = 1.5
STALL_SECONDS = 5.0


def dropped(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """One delivery does not happen."""
    at, _ = chance.choice(_deliveries(events))
    return [*events[:at], *events[at + 1 :]]


def swapped(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """Two deliveries to one client change their places."""
    at, first = chance.choice(_deliveries(events)[: -len(events) // 20])
    following = (
        (later, event)
        for later, event in _deliveries(events)
        if later > at and event.client == first.client
    )
    later, second = next(following)
    changed = list(events)
    changed[at] = msgspec.structs.replace(second, at=first.at)
    changed[later] = msgspec.structs.replace(first, at=second.at)
    return changed


def twice(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """One delivery happens again."""
    at, event = chance.choice(_deliveries(events))
    return [*events[: at + 1], event, *events[at + 1 :]]


def retried(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """A publication is appended a second time, because the first answer was lost."""
    pages = [(at, event) for at, event in enumerate(events) if isinstance(event, Kept)]
    at, page = chance.choice(pages)
    offset, _ = page.entries[-1]
    again = (*page.entries, (offset + 1, page.entries[-1][1]))
    changed = list(events)
    changed[at] = msgspec.structs.replace(page, entries=again)
    return changed


def unsaved(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """One is acknowledged that no stream ever had."""
    last = max(at for at, event in enumerate(events) if isinstance(event, Answered))
    at = events[chance.randrange(last * 9 // 10, last)].at
    ghost: list[Event] = [
        Sent(at, "client-0", "kept:0", "ghost"),
        Answered(at, "client-0", "ghost", 0),
    ]
    return sorted([*events, *ghost], key=_at)


def revoked_late(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """A token's socket goes on to hear for a while after its revocation."""
    revocation = next(event for event in events if isinstance(event, Revoked))
    end = next(
        event
        for event in events
        if isinstance(event, Closed) and event.client.startswith("victim-")
    )
    until = revocation.at + LATE_SECONDS + chance.random()
    witness = next(
        event.client
        for event in _received(events)
        if event.channel == "kept:0" and not event.client.startswith("victim-")
    )
    heard = [
        msgspec.structs.replace(event, client=end.client)
        for event in _received(events)
        if event.client == witness and end.at <= event.at <= until
    ]
    kept = [event for event in events if event is not end]
    return sorted([*kept, *heard, msgspec.structs.replace(end, at=until)], key=_at)


def tail_unseen(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """A client is not told of the lost tail: what is new below its offset is dropped."""
    told = [event for event in events if isinstance(event, Unsubscribed)]
    client = chance.choice(told).client
    at = next(event.at for event in told if event.client == client)
    offset = max(
        event.offset for event in _received(events) if event.client == client and event.at <= at
    )

    def stays(event: Event) -> bool:
        if getattr(event, "client", "") != client or event.at < at:
            return True
        if isinstance(event, Unsubscribed | Subscribed) and event.at == at:
            return False
        return not (isinstance(event, Received) and event.offset <= offset)

    return [event for event in events if stays(event)]


def closed_without_a_code(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """A socket is cut where nothing was killed."""
    closes = [event for event in events if isinstance(event, Closed) and event.code != CUT]
    end = chance.choice(closes)
    return [msgspec.structs.replace(event, code=CUT) if event is end else event for event in events]


def stalled(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """For some seconds nothing comes, and then all of it."""
    begin = chance.uniform(41, 48)
    end = begin + STALL_SECONDS
    client = chance.choice(
        sorted({event.client for event in _received(events)} - {"victim-1-bare"})
    )
    return sorted(
        (
            msgspec.structs.replace(event, at=end)
            if isinstance(event, Received) and event.client == client and begin < event.at < end
            else event
            for event in events
        ),
        key=_at,
    )


MUTATIONS: dict[Mutation, set[str]] = {
    dropped: {"silence"},
    swapped: {"order", "silence", "lost tail"},
    twice: {"once"},
    retried: {"once"},
    unsaved: {"acknowledged"},
    revoked_late: {"revocation"},
    tail_unseen: {"lost tail"},
    closed_without_a_code: {"close"},
    stalled: {"late"},
}
"""And which rules they break."""


def _received(events: Sequence[Event]) -> list[Received]:
    return [event for event in events if isinstance(event, Received)]


def _deliveries(events: Sequence[Event]) -> list[tuple[int, Received]]:
    return [
        (at, event)
        for at, event in enumerate(events)
        if isinstance(event, Received) and not event.client.startswith("victim-")
    ]


def _at(event: Event) -> float:
    return event.at
