"""Promises 2 to 5, as far as sockets tell: revocation, slow readers, closes, and Redis away."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.chaos.circumstances import SLACK_SECONDS, Circumstances
from tests.chaos.history import (
    CUT,
    LEFT,
    LOST,
    Answered,
    Closed,
    Connected,
    Drained,
    Event,
    Fault,
    Received,
    Revoked,
    Sent,
    Slow,
    SlowCut,
    Unsubscribed,
)
from tests.chaos.schedule import Kind
from tests.chaos.verdict import Verdict, Violation
from tests.chaos.world import STALL_SECONDS

REVOKED_SECONDS = 1.0
ANSWER_SECONDS = 1.0
SLOW_BYTES = 16 << 20
"""Of one reader: the gateway's queue is 1 MiB, the rest is nginx' and the system's."""

# What a gateway says when it stops, a token ends, a connection is too old, a reader too slow, or is
# to come again because its history cannot go on.
_EXPECTED = {1000, 1001, 3001, 3005, 3008, 3010, 3011, 3500}
_NO_PONG = 3012
_INSUFFICIENT = 3010
_GAP = 2500
# From the end of reading to the cut: the queue must fill first, and the metric be looked at.
_SLOW_SECONDS = STALL_SECONDS + 10
_DOWN = {Kind.REDIS_RESTART, Kind.REDIS_EMPTY, Kind.REDIS_TAIL}


def check_sockets(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Judge all of it.

    Args:
        events: The whole history, in order.
        circumstances: Of it.
    """
    verdict = Verdict()
    for part in (_check_revocations, _check_slow, _check_closes, _check_answers, _check_gaps):
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
        if circumstances.redis_away.longest_gap(entry.at, entry.at + 2) > REVOKED_SECONDS:
            verdict.counts["revocations while the log was readable"] += 1
    tokens: dict[str, str] = {}
    for event in events:
        match event:
            case Connected():
                tokens[event.client] = event.token
                end = revoked.get(event.token)
                # The door was passed earlier; only the answer came then.
                if end is not None and _late(end, event.at - SLACK_SECONDS, circumstances):
                    text = f"let in {event.at - end.at:.2f} s after the entry"
                    verdict.violations.append(_revocation(event, text))
            case Received():
                end = revoked.get(tokens.get(event.client, ""))
                if end is not None and _late(end, event.sent, circumstances):
                    text = f"{event.id} was sent {event.sent - end.at:.2f} s after the entry"
                    verdict.violations.append(_revocation(event, text))
            case Closed() if tokens.pop(event.client, "") in revoked:
                verdict.counts["sockets closed by a revocation"] += 1
            case _:
                pass
    return verdict


def _late(end: Revoked, moment: float, circumstances: Circumstances) -> bool:
    return circumstances.redis_away.longest_gap(end.at, moment) > REVOKED_SECONDS


def _revocation(event: Connected | Received, text: str) -> Violation:
    channel = event.channel if isinstance(event, Received) else ""
    return Violation(
        promise=2, rule="revocation", at=event.at, text=text, client=event.client, channel=channel
    )


def _check_slow(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 3: who does not read is cut in time, and costs no more than a bound."""
    verdict = Verdict()
    cuts = [event.at for event in events if isinstance(event, SlowCut)]
    for event in events:
        match event:
            case Slow():
                verdict.counts["slow readers"] += 1
                begin, end = event.at, event.at + _SLOW_SECONDS
                at = bisect_left(cuts, begin)
                if at < len(cuts) and cuts[at] <= end:
                    # Each cut is one reader's.
                    verdict.counts["slow readers cut"] += 1
                    del cuts[at]
                elif not (circumstances.cut.meets(begin, end) or _standstill(circumstances, event)):
                    text = f"not cut within {_SLOW_SECONDS} s"
                    verdict.violations.append(
                        Violation(
                            promise=3, rule="slow reader", at=end, text=text, client=event.client
                        )
                    )
            case Drained() if event.bytes > SLOW_BYTES:
                text = f"{event.bytes} bytes waited for it"
                verdict.violations.append(
                    Violation(
                        promise=3, rule="slow reader", at=event.at, text=text, client=event.client
                    )
                )
            case _:
                pass
    return verdict


def _standstill(circumstances: Circumstances, event: Slow) -> bool:
    end = event.at + _SLOW_SECONDS
    # Without Redis nothing is published, so nothing fills the queue.
    return circumstances.standstill.meets(event.at, end) or circumstances.redis_away.meets(
        event.at, end
    )


def _check_closes(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 4: a close that a living gateway decides has a code, and a reason to be there."""
    verdict = Verdict()
    for event in events:
        if not isinstance(event, Closed) or event.code == LEFT:
            continue
        verdict.counts[f"closes {event.code}"] += 1
        if event.client.startswith("slow-"):
            continue
        if event.code == CUT:
            if not circumstances.cut.holds(event.at):
                text = "a close without a code, and nothing was killed or cut"
                verdict.violations.append(_close(event, text))
        elif event.code == _NO_PONG:
            if not circumstances.standstill.holds(event.at):
                verdict.violations.append(_close(event, "a ping was not answered, it is said"))
        elif event.code not in _EXPECTED:
            verdict.violations.append(_close(event, f"closed with {event.code}"))
    return verdict


def _close(event: Closed, text: str) -> Violation:
    return Violation(promise=4, rule="close", at=event.at, text=text, client=event.client)


def _check_answers(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Promise 5: without Redis nothing is acknowledged, and that is said within a second."""
    verdict = Verdict()
    sent: dict[str, Sent] = {}
    down = [event for event in events if isinstance(event, Fault) and event.kind in _DOWN]
    for event in events:
        match event:
            case Sent():
                sent[event.id] = event
            case Answered() if event.code != LOST and event.id in sent:
                began = sent.pop(event.id)
                if event.code:
                    verdict.counts[f"refused with {event.code}"] += 1
                problem = _judge_answer(began, event, down, circumstances)
                if problem:
                    verdict.violations.append(
                        Violation(
                            promise=5,
                            rule="answer",
                            at=event.at,
                            text=f"{event.id}: {problem}",
                            client=event.client,
                            channel=began.channel,
                        )
                    )
            case _:
                pass
    return verdict


def _judge_answer(
    began: Sent, answer: Answered, down: Iterable[Fault], circumstances: Circumstances
) -> str:
    took = answer.at - began.at
    if took > ANSWER_SECONDS + SLACK_SECONDS and not circumstances.standstill.meets(
        began.at, answer.at
    ):
        return f"answered after {took:.2f} s"
    if answer.code == 0 and any(
        fault.at < began.at and answer.at < fault.ended - SLACK_SECONDS / 4 for fault in down
    ):
        return "acknowledged while there was no Redis"
    return ""


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
        if not circumstances.lost_before(event.at):
            text += ", and no data were lost"
            verdict.violations.append(
                Violation(
                    promise=5,
                    rule="told without cause",
                    at=event.at,
                    text=text,
                    client=event.client,
                )
            )
    verdict.counts.update(told)
    return verdict
