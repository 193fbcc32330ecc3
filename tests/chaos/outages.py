"""Promise 5: that Redis is away is said, sockets stay, and nothing is acknowledged meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.chaos.circumstances import SLACK_SECONDS, Circumstances
from tests.chaos.excuses import linked
from tests.chaos.history import LOST, Answered, Connected, Event, Fault, Sent, Unready
from tests.chaos.schedule import Kind
from tests.chaos.verdict import Verdict

ANSWER_SECONDS = 1.0
REFUSED = 100
# Nothing is answered by Redis meanwhile.
_AWAY = {
    Kind.REDIS_RESTART,
    Kind.REDIS_EMPTY,
    Kind.REDIS_TAIL,
    Kind.REDIS_PAUSE,
    Kind.REDIS_CUT,
    Kind.REDIS_SILENT,
    Kind.REDIS_FAILOVER,
}
# A dead socket is seen at once; of a silent one a gateway is sure after three times its probe.
_GONE = _AWAY - {Kind.REDIS_PAUSE, Kind.REDIS_SILENT}
_TOLD_SECONDS = 1.5
# What was under way when the fault began.
_UNDER_WAY_SECONDS = 0.5


def check_outages(events: Sequence[Event], circumstances: Circumstances) -> Verdict:
    """Judge the answers to publishers, what gateways say of themselves, and who kept a socket.

    Args:
        events: The whole history, in order.
        circumstances: Of it.
    """
    verdict = Verdict()
    outages = [fault for fault in circumstances.faults if fault.kind in _AWAY]
    _check_answers(events, outages, circumstances, verdict)
    _check_told(events, outages, verdict)
    for outage in outages:
        verdict.counts["Redis away"] += 1
        for client in circumstances.excuses.clients:
            if _concerned(outage, client, circumstances):
                verdict.counts["sockets that outlasted Redis' absence"] += 1
    return verdict


def _concerned(outage: Fault, client: str, circumstances: Circumstances) -> bool:
    """Say whether a client kept one socket through an outage, at a gateway that was in it."""
    gateway = circumstances.excuses.visits.throughout(
        client, outage.at, outage.ended + SLACK_SECONDS
    )
    return gateway is not None and linked(outage) in {"", gateway}


def _check_answers(
    events: Sequence[Event],
    outages: Sequence[Fault],
    circumstances: Circumstances,
    verdict: Verdict,
) -> None:
    """Without Redis nothing is acknowledged, and that is said within a second."""
    sent: dict[str, Sent] = {}
    for event in events:
        match event:
            case Sent():
                sent[event.id] = event
            case Answered() if event.code != LOST and event.id in sent:
                began = sent.pop(event.id)
                verdict.counts["answers"] += 1
                if event.code:
                    verdict.counts[f"refused with {event.code}"] += 1
                problem = _judge_answer(began, event, outages, circumstances, verdict)
                if problem:
                    verdict.add(
                        5,
                        "answer",
                        event.at,
                        f"{event.id}: {problem}",
                        client=event.client,
                        channel=began.channel,
                    )
            case _:
                pass


def _judge_answer(
    began: Sent,
    answer: Answered,
    outages: Iterable[Fault],
    circumstances: Circumstances,
    verdict: Verdict,
) -> str:
    took = answer.at - began.at
    if took > ANSWER_SECONDS + SLACK_SECONDS:
        excused = circumstances.excuses.spans(answer.client, redis=False)
        net = took - excused.covered(began.at, answer.at)
        if net > ANSWER_SECONDS + SLACK_SECONDS:
            return f"answered after {took:.2f} s, {net:.2f} s of it without a cause"
    for outage in outages:
        back = outage.back or outage.ended - _UNDER_WAY_SECONDS
        within = outage.at + _UNDER_WAY_SECONDS < began.at and answer.at < back
        if not within or not _concerned(outage, answer.client, circumstances):
            continue
        verdict.counts["answers while Redis was away"] += 1
        if answer.code == 0:
            return "acknowledged while there was no Redis"
        if answer.code != REFUSED:
            return f"refused with {answer.code} while there was no Redis"
    return ""


def _check_told(
    events: Sequence[Event],
    outages: Sequence[Fault],
    verdict: Verdict,
) -> None:
    """A gateway that has lost Redis does not call itself ready."""
    unready = [event for event in events if isinstance(event, Unready)]
    gateways = {event.gateway for event in events if isinstance(event, Connected)} - {""}
    for outage in outages:
        if outage.kind not in _GONE or outage.ended - outage.at < _TOLD_SECONDS:
            continue
        for gateway in sorted(gateways):
            if linked(outage) not in {"", gateway}:
                continue
            state: tuple[str, ...] = ()
            said = False
            for event in unready:
                if event.gateway != gateway or event.at > outage.ended + SLACK_SECONDS:
                    continue
                state = event.reasons
                said = said or (event.at >= outage.at and bool(state))
                if event.at < outage.at:
                    said = bool(state)
            verdict.counts["times that a gateway was to say that Redis is away"] += 1
            if not said:
                verdict.add(
                    5,
                    "not told",
                    outage.ended,
                    f"{gateway} called itself ready while it had no Redis",
                )
