"""Promises 2 to 5, as far as sockets tell: revocation, slow readers, closes, and Redis away."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter

from tests.chaos.circumstances import SLACK_SECONDS, Circumstances
from tests.chaos.history import (
    LEFT,
    Closed,
    Connected,
    Drained,
    Event,
    Received,
    Revoked,
    Slow,
    SlowCut,
    Unsubscribed,
)
from tests.chaos.schedule import Kind
from tests.chaos.spans import Spans
from tests.chaos.verdict import Verdict
from tests.chaos.world import CLOCK_SECONDS, GRACE_SECONDS, STALL_SECONDS, TOKEN_SECONDS

REVOKED_SECONDS = 1.0
SLOW_BYTES = 16 << 20
"""Of one reader: the gateway's queue is 1 MiB, the rest is nginx' and the system's."""

# What a gateway says when a token ends or a connection is too old, or to who is to come again
# because its history cannot go on.
_EXPECTED = {3005, 3010, 3011, 3500}
_EXPIRED = 3005
# An excuse that begins with the close is none for it.
_BEFORE_SECONDS = 0.001
_INSUFFICIENT = 3010
_GAP = 2500
# From the end of reading to the cut: the queue must fill first, and the metric be looked at.
_SLOW_SECONDS = STALL_SECONDS + 10


def check_sockets(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Judge all of it.

    Args:
        events: The whole history, in order.
        circumstances: Of it.
    """
    verdict = Verdict()
    for part in (_check_revocations, _check_slow, _check_closes, _check_gaps):
        verdict.join(part(events, circumstances))
    return verdict


def _check_revocations(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 2: what was published a second after the entry is not delivered on that token.

    The time when it was sent counts, which no busy client can make later; so a delivery that is
    found is one.
    """
    verdict = Verdict()
    revoked = {event.token: event for event in events if isinstance(event, Revoked)}
    for entry in revoked.values():
        verdict.counts["revocations"] += 1
        away = circumstances.redis_away("")
        if away.longest_gap(entry.at, entry.at + 2) > REVOKED_SECONDS:
            verdict.counts["revocations while the log was readable"] += 1
    tokens: dict[str, tuple[str, str]] = {}
    for event in events:
        match event:
            case Connected():
                tokens[event.client] = event.token, event.gateway
                end = revoked.get(event.token)
                away = circumstances.redis_away(event.gateway)
                # The door was passed earlier; only the answer came then.
                if end is not None and _late(end, event.at - SLACK_SECONDS, away):
                    text = f"let in {event.at - end.at:.2f} s after the entry"
                    verdict.add(2, "revocation", event.at, text, client=event.client)
            case Received():
                token, gateway = tokens.get(event.client, ("", ""))
                end = revoked.get(token)
                if end is not None and _late(end, event.sent, circumstances.redis_away(gateway)):
                    text = f"{event.id} was sent {event.sent - end.at:.2f} s after the entry"
                    verdict.add(
                        2,
                        "revocation",
                        event.at,
                        text,
                        client=event.client,
                        channel=event.channel,
                    )
            case Closed() if tokens.pop(event.client, ("", ""))[0] in revoked:
                verdict.counts["sockets closed by a revocation"] += 1
            case _:
                pass
    return verdict


def _late(end: Revoked, moment: float, away: Spans) -> bool:
    return away.longest_gap(end.at, moment) > REVOKED_SECONDS


def _cut_within(
    cuts: Sequence[SlowCut], begin: float, end: float, gateways: set[str]
) -> SlowCut | None:
    """Find the first cut in this time by one of these gateways; by any if none is known."""
    for cut in cuts[bisect_left(cuts, begin, key=attrgetter("at")) :]:
        if cut.at > end:
            break
        if not gateways or cut.gateway in gateways:
            return cut
    return None


def _check_slow(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 3: who does not read is cut in time, and costs no more than a bound."""
    verdict = Verdict()
    cuts = [event for event in events if isinstance(event, SlowCut)]
    for event in events:
        match event:
            case Slow():
                verdict.counts["slow readers"] += 1
                begin, end = event.at, event.at + _SLOW_SECONDS
                gateways = circumstances.excuses.visits.at(event.client, begin, begin)
                cut = _cut_within(cuts, begin, end, gateways - {""})
                if cut is not None:
                    # Each cut is one reader's, of those at its gateway.
                    verdict.counts["slow readers cut"] += 1
                    cuts.remove(cut)
                elif not circumstances.hindered(_flooded(event.client), begin, end):
                    text = f"not cut within {_SLOW_SECONDS} s"
                    verdict.add(3, "slow reader", end, text, client=event.client)
            case Drained() if event.bytes > SLOW_BYTES:
                text = f"{event.bytes} bytes waited for it"
                verdict.add(3, "slow reader", event.at, text, client=event.client)
            case _:
                pass
    return verdict


def _flooded(reader: str) -> set[str]:
    """Name a slow reader and the one who speaks to it; without Redis that one is not heard."""
    return {reader, f"{reader.rpartition('-')[0]}-speaker"}


def _check_closes(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 4: a close that a living gateway decides has a code, and a reason to be there."""
    verdict = Verdict()
    revoked = {event.token for event in events if isinstance(event, Revoked)}
    visits: dict[str, Connected] = {}
    for event in events:
        if isinstance(event, Connected):
            visits[event.client] = event
        if not isinstance(event, Closed) or event.code == LEFT:
            continue
        visit = visits.pop(event.client, None)
        verdict.counts[f"closes {event.code}"] += 1
        if event.code == _EXPIRED and visit is not None:
            what = "revocation" if visit.token in revoked else "expiry"
            verdict.counts[f"closes by {what}"] += 1
        if event.client.startswith("slow-"):
            continue
        problem = _judge_close(event, circumstances)
        if problem:
            verdict.add(4, "close", event.at, problem, client=event.client)
        elif _outlived(event, visit):
            verdict.add(4, "close", event.at, "long after its token", client=event.client)
    return verdict


def _judge_close(event: Closed, circumstances: Circumstances) -> str:
    match event.code:
        case 1006:
            if circumstances.down(event.client, event.at, Kind.GATEWAY_KILL):
                return ""
            if circumstances.network(event.client, event.at):
                return ""
            return "a close without a code, and nothing was killed or cut"
        case 3001:
            stops = (Kind.GATEWAY_TERM, Kind.ROLLING_RESTART, Kind.VERSION_BESIDE)
            if circumstances.down(event.client, event.at, *stops):
                return ""
            return "its gateway says that it stops, and nobody asked it to"
        case 3008:
            if circumstances.network(event.client, event.at):
                return ""
            return "slow, it is said, and it read all the time"
        case 3012:
            # The pong may have come while the gateway did not run, or the client.
            if circumstances.excuses.spans(event.client).meets(
                event.at - SLACK_SECONDS, event.at - _BEFORE_SECONDS
            ):
                return ""
            return "a ping was not answered, it is said"
        case code if code in _EXPECTED:
            return ""
        case code:
            return f"closed with {code}"


def _outlived(event: Closed, visit: Connected | None) -> bool:
    """Say whether a socket lived on a token that had ended; an SDK's are renewed."""
    if visit is None or not visit.token:
        return False
    most = TOKEN_SECONDS + GRACE_SECONDS + CLOCK_SECONDS + SLACK_SECONDS
    return event.at - visit.at > most


def _check_gaps(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 5: a Redis that comes back with its data costs nobody his socket or subscription."""
    verdict = Verdict()
    told: dict[str, int] = defaultdict(int)
    for event in events:
        match event:
            case Closed(code=code) if code == _INSUFFICIENT:
                text = "closed because of a gap"
            case Unsubscribed(code=code) if code == _GAP and event.channel.startswith("kept:"):
                text = "unsubscribed because of a gap"
            case _:
                continue
        told[text] += 1
        if not circumstances.lost(event.at, event.at):
            text += ", and no data were lost"
            verdict.add(5, "told without cause", event.at, text, client=event.client)
    verdict.counts.update(told)
    return verdict
