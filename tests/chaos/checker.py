"""Decides from a history which of the design's promises were kept; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.chaos.circumstances import Circumstances
from tests.chaos.history import Closed, Event, Fault, Sent
from tests.chaos.sockets import check_sockets
from tests.chaos.streams import check_streams
from tests.chaos.verdict import Verdict


def check(events: Sequence[Event]) -> Verdict:
    """Judge a history.

    Args:
        events: All of it, in order.
    """
    circumstances = Circumstances(events)
    verdict = check_streams(events, circumstances)
    verdict.join(check_sockets(events, circumstances))
    kinds = Counter(event.kind for event in events if isinstance(event, Fault))
    verdict.counts["faults"] = kinds.total()
    verdict.counts["kinds of faults"] = len(kinds)
    verdict.counts["closes"] = sum(isinstance(event, Closed) for event in events)
    times = [event.at for event in events if isinstance(event, Sent)]
    if times:
        begin, end = times[0], times[-1]
        verdict.counts["seconds of publishing"] = round(end - begin)
        # What is excused is not judged: a starved machine must not pass for a proof.
        for what, spans in (
            ("lateness", circumstances.standstill),
            ("cuts", circumstances.cut),
            ("an unread log", circumstances.redis_away),
        ):
            verdict.counts[f"seconds that excuse {what}"] = round(spans.covered(begin, end))
    return verdict
