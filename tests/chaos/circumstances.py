"""What was going on: when a thing that happened may have had which cause."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import inf

from tests.chaos.history import Begun, Event, Fault, Lag, Unready
from tests.chaos.schedule import LOSES_DATA, Kind, touches_redis
from tests.chaos.spans import Spans

_KILLS = {Kind.GATEWAY_KILL}
_CLIENT_NETWORK = {Kind.CLIENT_CUT, Kind.CLIENT_SLOW}
_STANDSTILL = {Kind.GATEWAY_PAUSE}
_RESTARTS = {Kind.GATEWAY_TERM, Kind.ROLLING_RESTART, Kind.GATEWAY_KILL}
SLACK_SECONDS = 2.0
"""What a busy machine may be late with what it sees."""


class Circumstances:
    """The faults of a run, by what they excuse.

    Args:
        events: The whole history.

    Attributes:
        data_lost_at: When a Redis came back without some of its data, in order.
        redis_away: Redis, or a way to it, may not have worked.
        cut: Sockets may have been cut by something that no gateway decides.
        standstill: A process did not run, or a client's own came late.
        busy: Anything at all was going on.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        faults, lags, unready = [], [], []
        begun: dict[tuple[float, str], Begun] = {}
        for event in events:
            if isinstance(event, Begun):
                begun[event.at, event.kind] = event
            elif isinstance(event, Fault):
                begun.pop((event.at, event.kind), None)
                faults.append(event)
            elif isinstance(event, Lag):
                lags.append(event)
            elif isinstance(event, Unready):
                unready.append(event)
        # What the run's end came before still explains what was seen.
        faults += [Fault(at, inf, inf, kind) for at, kind in begun]
        self.data_lost_at = sorted(fault.ended for fault in faults if fault.kind in LOSES_DATA)
        self._data_lost = [(fault.at, fault.ended) for fault in faults if fault.kind in LOSES_DATA]
        self.redis_away = Spans(
            [
                *((f.at, f.healed + SLACK_SECONDS) for f in faults if touches_redis(f.kind)),
                *((f.at, f.ended + SLACK_SECONDS) for f in faults if f.kind in _STANDSTILL),
                *_unready(unready, "revocations", "silent"),
            ]
        )
        self.cut = _around(faults, _KILLS | _CLIENT_NETWORK)
        late = [(lag.at - lag.seconds - SLACK_SECONDS, lag.at + SLACK_SECONDS) for lag in lags]
        self.standstill = Spans(
            [
                *late,
                *(
                    (fault.at - SLACK_SECONDS, fault.healed + SLACK_SECONDS)
                    for fault in faults
                    if fault.kind in _STANDSTILL | _CLIENT_NETWORK | _RESTARTS
                ),
            ]
        )
        self.busy = Spans((fault.at, fault.healed + SLACK_SECONDS) for fault in faults)

    def lost_after(self, moment: float) -> bool:
        """Say whether Redis has lost data of before a moment since then."""
        return any(moment <= end for _, end in self._data_lost)

    def lost_before(self, moment: float) -> bool:
        """Say whether Redis has lost data up to a moment."""
        return any(begin <= moment for begin, _ in self._data_lost)


def _around(faults: Iterable[Fault], kinds: Collection[str]) -> Spans:
    return Spans((f.at, f.ended + SLACK_SECONDS) for f in faults if f.kind in kinds)


def _unready(events: Iterable[Unready], *reasons: str) -> list[tuple[float, float]]:
    """Return when a gateway gave one of these reasons; each look is a quarter of a second late."""
    spans: list[tuple[float, float]] = []
    since: dict[str, float] = {}
    for event in events:
        if any(reason in event.reasons for reason in reasons):
            since.setdefault(event.gateway, event.at - 1)
        elif event.gateway in since:
            spans.append((since.pop(event.gateway), event.at + SLACK_SECONDS))
    spans += [(begin, inf) for begin in since.values()]
    return spans
