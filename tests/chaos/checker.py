"""Decides from a history which of the design's promises were kept; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.chaos.circumstances import Circumstances
from tests.chaos.history import Closed, Event, Fault, Sent
from tests.chaos.lateness import check_lateness
from tests.chaos.outages import check_outages
from tests.chaos.sockets import check_sockets
from tests.chaos.streams import check_streams
from tests.chaos.verdict import Verdict


def check(events: Sequence[Event], circumstances: Circumstances | None = None) -> Verdict:
    """Judge a history.

    Args:
        events: All of it, in order.
        circumstances: Of it, where they are known.
    """
    circumstances = circumstances or Circumstances(events)
    verdict = check_streams(events, circumstances)
    for part in (check_sockets, check_outages, check_lateness):
        verdict.join(part(events, circumstances))
    kinds = Counter(event.kind for event in events if isinstance(event, Fault))
    verdict.counts["faults"] = kinds.total()
    verdict.counts["kinds of faults"] = len(kinds)
    verdict.counts["closes"] = sum(isinstance(event, Closed) for event in events)
    times = [event.at for event in events if isinstance(event, Sent)]
    if times:
        verdict.counts["seconds of publishing"] = round(times[-1] - times[0])
    return verdict
