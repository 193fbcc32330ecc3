"""What each fault cost: when it was noticed, when all was well, what was caught up with."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.history import (
    LEFT,
    Answered,
    Closed,
    Connected,
    Event,
    Fault,
    Received,
    Revoked,
    Subscribed,
    Unready,
    Unsubscribed,
)
from tests.chaos.streams import PASSING

_ATTENTION_SECONDS = 2.0
_LIVE_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_EXPIRED = 3005


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one fault.

    Attributes:
        kind: Which.
        detect: Seconds until somebody was told; None if nobody was.
        recover: Seconds from its end until the last of those who had noticed got something that was
            published after its end; None if nobody noticed or not all did.
        recovered: Publications that arrived over a second late, or in an answer to ``recover``.
        disturbed: Clients that noticed.
    """

    kind: str
    detect: float | None
    recover: float | None
    recovered: int
    disturbed: int


def measure(events: Sequence[Event]) -> list[Figure]:
    """Measure every fault; those that overlap share what they cost."""
    faults = [event for event in events if isinstance(event, Fault)]
    return [*(_measure(fault, events) for fault in faults), *_expiries(events)]


def _expiries(events: Sequence[Event]) -> list[Figure]:
    """Measure what the end of a token that nobody revoked costs the client that it belongs to."""
    revoked = {event.token for event in events if isinstance(event, Revoked)}
    tokens: dict[str, str] = {}
    gone: dict[str, float] = {}
    found = []
    for event in events:
        match event:
            case Connected():
                tokens[event.client] = event.token
            case Closed(code=code) if code == _EXPIRED:
                if tokens.get(event.client, "") not in revoked:
                    gone[event.client] = event.at
            case Subscribed() if event.client in gone:
                took = event.at - gone.pop(event.client)
                found.append(Figure("token expired", None, took, 0, 1))
            case _:
                pass
    return found


def _measure(fault: Fault, events: Sequence[Event]) -> Figure:
    end = fault.healed + _ATTENTION_SECONDS
    detect: float | None = None
    waiting: set[str] = set()
    disturbed: set[str] = set()
    recovered = 0
    recover: float | None = None
    begin = bisect_left(events, fault.at, key=_at)
    for event in itertools.islice(events, begin, None):
        told = _told(event)
        if told is not None and fault.at <= event.at <= end:
            detect = event.at - fault.at if detect is None else detect
            # Who leaves for good does not hear again.
            if told and not told.startswith(PASSING):
                waiting.add(told)
                disturbed.add(told)
        match event:
            case Received():
                if fault.at <= event.at <= end + _ATTENTION_SECONDS:
                    recovered += event.at - event.sent > _LIVE_SECONDS
                if event.client in waiting and event.sent > fault.ended:
                    waiting.discard(event.client)
                    recover = max(recover or 0.0, event.at - fault.ended)
            case _:
                pass
        if event.at > end and (not waiting or event.at > end + _PATIENCE_SECONDS):
            break
    return Figure(fault.kind, detect, None if waiting else recover, recovered, len(disturbed))


def _at(event: Event) -> float:
    return event.at


def _told(event: Event) -> str | None:
    """Return whom an event tells that something is wrong; empty: an operator; None: it does not."""
    match event:
        case Closed() if event.code != LEFT:
            return event.client
        case Unsubscribed():
            return event.client
        case Answered() if event.code > 0:
            return event.client
        case Subscribed() if event.asked and not event.recovered:
            return event.client
        case Unready() if event.reasons:
            return ""
        case _:
            return None


def table(figures: Iterable[Figure]) -> list[str]:
    """Write the medians and the worst of each kind, as lines of a table in Markdown."""
    by_kind: dict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        by_kind[figure.kind].append(figure)
    lines = [
        "| fault | times | noticed by (clients) | noticed after | well after | late or recovered |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind, found in sorted(by_kind.items()):
        lines.append(
            f"| {kind} | {len(found)} | {max(one.disturbed for one in found)} "
            f"| {_span(one.detect for one in found)} | {_span(one.recover for one in found)} "
            f"| {sum(one.recovered for one in found)} |"
        )
    return lines


def _span(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{median(known):.2f} s, at most {max(known):.2f} s"
