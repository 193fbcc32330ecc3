"""What each fault cost: when it was noticed, when all was well, what was caught up with."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.circumstances import Circumstances
from tests.chaos.excuses import HARMLESS, ROUGH, linked
from tests.chaos.history import (
    LEFT,
    Answered,
    Closed,
    Connected,
    Event,
    Fault,
    Received,
    Revoked,
    SlowCut,
    Subscribed,
    Unready,
    Unsubscribed,
)
from tests.chaos.schedule import OF_GATEWAYS, Kind, touches_redis
from tests.chaos.streams import PASSING

_ATTENTION_SECONDS = 2.0
_LIVE_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_EXPIRED = 3005
_NAMED = {Kind.REVOKE_TOKEN, Kind.REVOKE_SESSION, Kind.SLOW_READER}


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


def measure(events: Sequence[Event], circumstances: Circumstances) -> list[Figure]:
    """Measure every fault; those that overlap share what they cost."""
    faults = [event for event in events if isinstance(event, Fault)]
    return [*(_measure(fault, events, circumstances) for fault in faults), *_expiries(events)]


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


def _measure(fault: Fault, events: Sequence[Event], circumstances: Circumstances) -> Figure:
    end = fault.healed + _ATTENTION_SECONDS
    detect: float | None = None
    waiting: set[str] = set()
    disturbed: set[str] = set()
    recovered = 0
    recover: float | None = None
    begin = bisect_left(events, fault.at, key=_at)
    for event in itertools.islice(events, begin, None):
        if event.at <= end and _tells(fault, event, circumstances):
            detect = event.at - fault.at if detect is None else detect
            client = getattr(event, "client", "")
            # Who leaves for good does not hear again.
            if client and not client.startswith(PASSING):
                waiting.add(client)
                disturbed.add(client)
        if isinstance(event, Received):
            late = event.at - event.sent > _LIVE_SECONDS and event.at <= end + _ATTENTION_SECONDS
            recovered += (
                late
                and _befalls(fault, event.client, circumstances)
                and not _otherwise(fault, event, circumstances)
            )
            if event.client in waiting and event.sent > fault.ended:
                waiting.discard(event.client)
                recover = max(recover or 0.0, event.at - fault.ended)
        if event.at > end and (not waiting or event.at > end + _PATIENCE_SECONDS):
            break
    return Figure(fault.kind, detect, None if waiting else recover, recovered, len(disturbed))


def _at(event: Event) -> float:
    return event.at


def _tells(fault: Fault, event: Event, circumstances: Circumstances) -> bool:
    """Say whether an event tells somebody of this fault."""
    match event:
        case Closed() if event.code != LEFT:
            client = event.client
        case Unsubscribed():
            client = event.client
        case Answered() if event.code > 0:
            client = event.client
        case Subscribed() if event.asked and not event.recovered:
            client = event.client
        case Unready() if event.reasons:
            return event.gateway == fault.target or (
                touches_redis(fault.kind) and linked(fault) in {"", event.gateway}
            )
        case SlowCut():
            return fault.kind == Kind.SLOW_READER
        case _:
            return False
    return _befalls(fault, client, circumstances) and not _otherwise(fault, event, circumstances)


def _befalls(fault: Fault, client: str, circumstances: Circumstances) -> bool:
    """Say whether a fault is a client's."""
    kind = fault.kind
    if kind in _NAMED:
        return client.startswith(f"{fault.target}-")
    if kind in {Kind.CLIENT_CUT, Kind.CLIENT_SLOW}:
        return client.endswith(ROUGH) or not fault.target
    gateway = fault.target if kind in OF_GATEWAYS else linked(fault)
    gateways = circumstances.excuses.visits.at(client, fault.at, fault.ended)
    return gateway == "" or bool(gateways & {gateway, ""})


def _otherwise(fault: Fault, event: Event, circumstances: Circumstances) -> bool:
    """Say whether what a fault of no gateway's and not Redis' seems to do is another's."""
    if fault.kind not in HARMLESS - _NAMED:
        return False
    return any(
        one.begin <= event.at <= one.end and one.kind != fault.kind
        for one in circumstances.excuses.of(getattr(event, "client", ""))
    )


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
