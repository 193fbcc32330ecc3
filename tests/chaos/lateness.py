"""Nothing stalls without a cause: what arrives late, and who stays away too long."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.circumstances import Circumstances
from tests.chaos.excuses import LAG, OTHER
from tests.chaos.history import LEFT, Event, Received, Sent
from tests.chaos.schedule import Kind
from tests.chaos.spans import Spans
from tests.chaos.streams import PASSING
from tests.chaos.verdict import Verdict

LATE_SECONDS = 2.0
"""From the attempt to publish to the arrival, with nothing that excuses it; on a busy machine."""

AWAY_SECONDS = 4.0
"""To come again where nothing hinders it: tokens, pauses between attempts, the subscription."""

CEILING_SECONDS = 30.0
"""Whatever there was: this late is a stall."""

# A gateway that waits is nginx' choice as well, so that these hinder everybody's return.
_HINDERS_NOBODY = {
    Kind.SLOW_READER,
    Kind.NGINX_RELOAD,
    Kind.REVOKE_TOKEN,
    Kind.REVOKE_SESSION,
    Kind.KEY_ROTATION,
}


def check_lateness(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Judge each delivery, and each time without a subscription.

    Args:
        events: The whole history, in order.
        circumstances: Of it.
    """
    verdict = Verdict()
    for event in events:
        if isinstance(event, Received) and event.at - event.sent > LATE_SECONDS:
            _check_delivery(event, circumstances, verdict)
    _check_returns(events, circumstances, verdict)
    return verdict


def _check_delivery(event: Received, circumstances: Circumstances, verdict: Verdict) -> None:
    took = event.at - event.sent
    verdict.counts["late deliveries"] += 1
    net = circumstances.late(event.client, event.sent, event.at, event.id)
    if net <= LATE_SECONDS and took <= CEILING_SECONDS:
        verdict.counts["late deliveries excused"] += 1
        return
    text = f"{event.id} came {took:.2f} s after it was sent, {net:.2f} s of it without a cause"
    verdict.add(1, "late", event.at, text, client=event.client, channel=event.channel)


def _check_returns(events: Sequence[Event], circumstances: Circumstances, verdict: Verdict) -> None:
    last = max((event.at for event in events if isinstance(event, Sent)), default=0.0)
    hindrances = [
        (fault.at, min(fault.healed, fault.ended + CEILING_SECONDS))
        for fault in circumstances.faults
        if fault.kind not in _HINDERS_NOBODY
    ]
    for client in sorted(circumstances.excuses.clients):
        if client.startswith(PASSING):
            continue
        lags = [(one.begin, one.end) for one in circumstances.excuses.of(client) if one.kind == LAG]
        hindered = Spans([*hindrances, *lags])
        for begin, end, code in circumstances.excuses.away(client):
            if code == LEFT or begin > last:
                continue
            verdict.counts["times away"] += 1
            until = min(end, last + CEILING_SECONDS)
            net = until - begin - hindered.covered(begin, until)
            if net > AWAY_SECONDS or until - begin > CEILING_SECONDS:
                text = f"away for {until - begin:.2f} s, {net:.2f} s of it with nothing in its way"
                verdict.add(4, "away", until, text, client=client)


@dataclass(frozen=True, slots=True)
class Excused:
    """What a run excuses.

    Attributes:
        total: Client seconds: what there is to excuse.
        seconds: Client seconds by kind of fault; those of two kinds count for both.
        any: Client seconds, each counted once.
        late: Late deliveries by kind.
        deliveries: All there were.
    """

    total: float
    seconds: Mapping[str, float]
    any: float
    late: Mapping[str, int]
    deliveries: int


def excused(events: Sequence[Event], circumstances: Circumstances) -> Excused:
    """Sum up what was excused while there were publications.

    Args:
        events: The whole history, in order.
        circumstances: Of it.
    """
    times = [event.at for event in events if isinstance(event, Sent)]
    begin, end = (times[0], times[-1]) if times else (0.0, 0.0)
    clients = [client for client in circumstances.excuses.clients if not client.startswith(PASSING)]
    seconds: defaultdict[str, float] = defaultdict(float)
    covered = 0.0
    for client in clients:
        spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for one in circumstances.excuses.of(client):
            spans[one.kind].append((one.begin, one.end))
        for kind, found in spans.items():
            seconds[kind] += Spans(found).covered(begin, end)
        covered += circumstances.excuses.spans(client).covered(begin, end)
    late: Counter[str] = Counter()
    deliveries = 0
    for event in events:
        if isinstance(event, Received):
            deliveries += 1
            if event.at - event.sent > LATE_SECONDS:
                late.update(
                    circumstances.reasons(event.client, event.sent, event.at, event.id) or {OTHER}
                )
    return Excused(len(clients) * (end - begin), seconds, covered, late, deliveries)


def excuses_table(runs: Iterable[Excused]) -> list[str]:
    """Write which kind excused how much, of all runs together, as lines of a table in Markdown."""
    runs = list(runs)
    total = sum(run.total for run in runs) or 1.0
    deliveries = sum(run.deliveries for run in runs) or 1
    seconds: defaultdict[str, float] = defaultdict(float)
    late: Counter[str] = Counter()
    for run in runs:
        for kind, found in run.seconds.items():
            seconds[kind] += found
        late.update(run.late)
    lines = [
        "| excuse | share of the clients' time | late deliveries in it |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {kind} | {seconds[kind] / total:.1%} | {late[kind]} |"
        for kind in sorted({*seconds, *late})
        if seconds[kind] or late[kind]
    ]
    share = sum(run.any for run in runs) / total
    lines.append(f"| any | {share:.1%} | of {deliveries} |")
    return lines
