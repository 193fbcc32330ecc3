"""What was going on: when a thing that happened may have had which cause."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf

from tests.chaos.excuses import RECOVERY_SECONDS, ROUGH, Excuses, linked
from tests.chaos.history import Down, Event, Sent, Unready
from tests.chaos.schedule import LOSES_DATA, Kind, touches_redis
from tests.chaos.spans import Spans

SLACK_SECONDS = 2.0
"""What a busy machine may be late with what it sees."""
_TOLD_SECONDS = 10.0
_UNSEEN_SECONDS = 5.0
_CLIENT_NETWORK = {Kind.CLIENT_CUT, Kind.CLIENT_SLOW}


class Circumstances:
    """The faults of a run, by what they excuse.

    Args:
        events: The whole history, in order.

    Attributes:
        excuses: For coming late.
        faults: All of them.
        losses: Those that lose data.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.excuses = Excuses(events)
        self.faults = self.excuses.faults
        self._downs = [event for event in events if isinstance(event, Down)]
        self._unready = [event for event in events if isinstance(event, Unready)]
        self.losses = [fault for fault in self.faults if fault.kind in LOSES_DATA]
        self._redis: dict[str, Spans] = {}
        self._speakers = {event.id: event.client for event in events if isinstance(event, Sent)}

    def may_be_lost(self, moment: float) -> bool:
        """Say whether what was acknowledged then may be gone, before anybody but Redis saw it."""
        return any(loss.at - _UNSEEN_SECONDS <= moment <= loss.ended for loss in self.losses)

    def lost(self, begin: float, end: float) -> bool:
        """Say whether Redis has lost data in this time, or so shortly before that it is news."""
        return any(loss.at <= end and begin <= loss.ended + _TOLD_SECONDS for loss in self.losses)

    def stopped(self, heard: Collection[tuple[str, float]], end: float) -> bool:
        """Say whether every gateway at which something was heard has ended since.

        Args:
            heard: Client and moment of each delivery; none is no answer.
            end: Until when.
        """
        since: dict[str, float] = {}
        for client, moment in heard:
            for gateway in self.excuses.visits.at(client, moment, moment):
                since[gateway] = max(since.get(gateway, 0.0), moment)
        return bool(since.keys() - {""}) and all(
            any(
                down.gateway == gateway
                and down.kind != Kind.GATEWAY_PAUSE
                and down.at <= end
                and down.until >= moment
                for down in self._downs
            )
            for gateway, moment in since.items()
        )

    def redis_away(self, gateway: str) -> Spans:
        """Return when a gateway may be unable to read Redis; of an empty name: when any may."""
        if gateway not in self._redis:
            self._redis[gateway] = Spans(
                [
                    *(
                        (fault.at, fault.healed + SLACK_SECONDS)
                        for fault in self.faults
                        if touches_redis(fault.kind) and _same(linked(fault), gateway)
                    ),
                    *(
                        (down.at, down.until + SLACK_SECONDS)
                        for down in self._downs
                        if down.kind == Kind.GATEWAY_PAUSE and _same(down.gateway, gateway)
                    ),
                    *_unready(self._unready, gateway, "revocations", "silent"),
                ]
            )
        return self._redis[gateway]

    def down(self, client: str, moment: float, *kinds: Kind) -> bool:
        """Say whether a client's gateway was just being stopped by one of these faults."""
        gateways = self.excuses.visits.at(client, moment, moment) or {""}
        return any(
            down.at <= moment <= down.until + SLACK_SECONDS and down.kind in kinds
            for down in self._downs
            if any(_same(down.gateway, gateway) for gateway in gateways)
        ) or any(
            # One that the run did not outlast, or a history without particulars.
            fault.at <= moment <= fault.ended + SLACK_SECONDS and fault.kind in kinds
            for fault in self.faults
            if not self._downs or fault.ended == inf
        )

    def network(self, client: str, moment: float) -> bool:
        """Say whether a client's network was bad then."""
        return any(
            fault.at <= moment <= fault.ended + RECOVERY_SECONDS
            for fault in self.faults
            if fault.kind in _CLIENT_NETWORK and (client.endswith(ROUGH) or not fault.target)
        )

    def hindered(self, clients: Collection[str], begin: float, end: float) -> bool:
        """Say whether a gateway of one of these was stopped, or without Redis, in this time."""
        gateways = {
            gateway for client in clients for gateway in self.excuses.visits.at(client, begin, end)
        } or {""}
        return any(
            self.redis_away(gateway).meets(begin, end)
            or any(
                _same(down.gateway, gateway) and down.at <= end and begin <= down.until
                for down in self._downs
            )
            for gateway in gateways
        )

    def late(self, client: str, begin: float, end: float, publication: str = "") -> float:
        """Return how long something took that neither who waits nor who spoke is excused for."""
        spans = [self.excuses.spans(client)]
        if publication:
            spans.append(self.excuses.spans(self._speakers.get(publication, "")))
        return end - begin - Spans.union(spans).covered(begin, end)

    def reasons(self, client: str, begin: float, end: float, publication: str) -> set[str]:
        """Name the kinds of faults that excuse it."""
        speaker = self._speakers.get(publication, "")
        return {
            one.kind
            for who in (client, speaker)
            for one in self.excuses.of(who)
            if one.begin <= end and one.end >= begin
        }


def _same(one: str, other: str) -> bool:
    return one in {"", other} or not other


def _unready(events: Iterable[Unready], gateway: str, *reasons: str) -> list[tuple[float, float]]:
    """Return when a gateway gave one of these reasons; each look is a quarter of a second late."""
    spans: list[tuple[float, float]] = []
    since: dict[str, float] = {}
    for event in events:
        if not _same(event.gateway, gateway):
            continue
        if any(reason in event.reasons for reason in reasons):
            since.setdefault(event.gateway, event.at - 1)
        elif event.gateway in since:
            spans.append((since.pop(event.gateway), event.at + SLACK_SECONDS))
    spans += [(begin, inf) for begin in since.values()]
    return spans
