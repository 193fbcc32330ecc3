"""What excuses that something came late: per client, and for no longer than it explains.

A client is excused while it has no subscription, until it hears live again; while its gateway is
stopped or without Redis, or its network is bad, from the beginning of that fault until it first
gets something that was published after the fault's end; and while its process or its gateway's did
not run, which a busy machine brings about. A fault excuses nothing ``RECOVERY_SECONDS`` after its
end, heard or not, and nobody else's lateness.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from tests.chaos.history import (
    Begun,
    Closed,
    Connected,
    Down,
    Event,
    Fault,
    Lag,
    Received,
    Subscribed,
    Unsubscribed,
)
from tests.chaos.schedule import Kind, touches_redis
from tests.chaos.spans import Spans

RECOVERY_SECONDS = 5.0
"""After a fault's end, until what it held back must have come."""
_LIVE_SECONDS = 2.0
_EXPIRED = 3005
# Codes between are of one subscription, and none that a stop brings about.
_UNSUBSCRIBED, _CLOSED = 2000, 3000
HARMLESS = {
    Kind.NGINX_RELOAD,
    Kind.KEY_ROTATION,
    Kind.AUTH_RESTART,
    Kind.AUTH_CLOCK,
    Kind.REVOKE_TOKEN,
    Kind.REVOKE_SESSION,
    Kind.SLOW_READER,
}
"""Faults that cost nobody his subscription whom they do not name."""
LAG = "a process that did not run"
EXPIRY = "token expired"
OTHER = "nothing known"
ROUGH = "-rough"
"""How the names of clients end whose network can be bad."""

_CLIENT_NETWORK = {Kind.CLIENT_CUT, Kind.CLIENT_SLOW}
_STANDSTILL = {Kind.GATEWAY_KILL, Kind.GATEWAY_PAUSE}


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why one client may be late.

    Attributes:
        begin: Since when.
        end: Until when.
        kind: Of the fault.
    """

    begin: float
    end: float
    kind: str


class Visits:
    """Which gateway each client was at, and when.

    Args:
        events: The whole history.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._visits: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
        for event in events:
            if isinstance(event, Connected):
                self._close(event.client, event.at)
                self._visits[event.client].append((event.at, inf, event.gateway))
            elif isinstance(event, Closed):
                self._close(event.client, event.at)

    def _close(self, client: str, at: float) -> None:
        visits = self._visits[client]
        if visits and visits[-1][1] == inf:
            begin, _, gateway = visits[-1]
            visits[-1] = begin, at, gateway

    def of(self, client: str) -> list[tuple[float, float, str]]:
        """Return beginning, end and gateway of each."""
        return self._visits[client]

    def at(self, client: str, begin: float, end: float) -> set[str]:
        """Name the gateways of a stretch of time; an empty name may be any of them."""
        return {
            gateway
            for first, last, gateway in self._visits[client]
            if first <= end and last >= begin
        }

    def throughout(self, client: str, begin: float, end: float) -> str | None:
        """Name the gateway of a socket that was there all the time."""
        for first, last, gateway in self._visits[client]:
            if first <= begin and last >= end:
                return gateway
        return None


class Excuses:
    """All clients' excuses.

    Args:
        events: The whole history, in order.

    Attributes:
        visits: Who was where.
        faults: All of them; one that the run did not outlast has no end.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        events = list(events)
        self.visits = Visits(events)
        self._live: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._clients: set[str] = set()
        self._away: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        self.faults: list[Fault] = []
        self._downs: list[Down] = []
        self._lags: list[Lag] = []
        self._gather(events)
        self._known: dict[str, list[Excuse]] = {}
        self._spans: dict[tuple[str, bool], Spans] = {}

    def _gather(self, events: list[Event]) -> None:
        gone: dict[str, tuple[float, int]] = {}
        begun: dict[tuple[float, str], Begun] = {}
        for event in events:
            match event:
                case Received():
                    self._live[event.client].append((event.sent, event.at))
                case Connected():
                    self._clients.add(event.client)
                case Subscribed():
                    if event.client in gone:
                        begin, code = gone.pop(event.client)
                        self._away[event.client].append((begin, event.at, code))
                case Closed() | Unsubscribed():
                    gone.setdefault(event.client, (event.at, event.code))
                case Begun():
                    begun[event.at, event.kind] = event
                case Fault():
                    begun.pop((event.at, event.kind), None)
                    self.faults.append(event)
                case Down():
                    self._downs.append(event)
                case Lag():
                    self._lags.append(event)
                case _:
                    pass
        self.faults += [Fault(at, inf, inf, kind) for at, kind in begun]
        for client, (at, code) in gone.items():
            self._away[client].append((at, inf, code))

    @property
    def clients(self) -> set[str]:
        """Everybody who ever had a socket."""
        return self._clients

    def away(self, client: str) -> list[tuple[float, float, int]]:
        """Return when a client had no subscription, and the code that it was told at first."""
        return self._away[client]

    def of(self, client: str) -> list[Excuse]:
        """Return a client's excuses."""
        if client not in self._known:
            self._known[client] = [*self._of(client)]
        return self._known[client]

    def spans(self, client: str, *, redis: bool = True) -> Spans:
        """Return when a client is excused; with or without what concerns Redis only."""
        key = client, redis
        if key not in self._spans:
            self._spans[key] = Spans(
                (one.begin, one.end)
                for one in self.of(client)
                if redis or not touches_redis(one.kind)
            )
        return self._spans[key]

    def _of(self, client: str) -> Iterator[Excuse]:
        for begin, end, code in self._away[client]:
            until = self._heard(client, end, _LIVE_SECONDS)
            yield Excuse(begin, until, self._cause(client, begin, code))
        for down in self._downs:
            if down.kind in _STANDSTILL and _meet(
                self.visits.at(client, down.at, down.until), down.gateway
            ):
                yield self._fault(client, down.at, down.until, down.kind)
        for fault in self.faults:
            if self._concerns(fault, client):
                yield self._fault(client, fault.at, fault.ended, fault.kind)
        for lag in self._lags:
            begin = lag.at - lag.seconds
            if client.startswith(lag.process) or lag.process in self.visits.at(
                client, begin, lag.at
            ):
                yield Excuse(lag.at - lag.seconds, lag.at, LAG)

    def _fault(self, client: str, begin: float, end: float, kind: str) -> Excuse:
        return Excuse(begin, self._heard(client, end, RECOVERY_SECONDS), kind)

    def _concerns(self, fault: Fault, client: str) -> bool:
        if fault.kind in _CLIENT_NETWORK:
            return client.endswith(ROUGH) or fault.target == ""
        if not touches_redis(fault.kind):
            return False
        gateway = linked(fault)
        return gateway == "" or _meet(self.visits.at(client, fault.at, fault.ended), gateway)

    def _heard(self, client: str, moment: float, most: float) -> float:
        """Return when a client first got what was published after a moment."""
        if moment == inf:
            return inf
        live = self._live[client]
        # By arrival, which is in order; what was sent later did not arrive before.
        for sent, at in live[bisect_left(live, moment, key=_arrival) :]:
            if sent >= moment or at > moment + most:
                return min(at, moment + most)
        return moment + most

    def _cause(self, client: str, moment: float, code: int) -> str:
        """Name the latest fault that may have cost a client its subscription."""
        if code == _EXPIRED:
            return EXPIRY
        gateways = self.visits.at(client, moment, moment)
        stops = [
            (down.at, down.kind)
            for down in self._downs
            if down.at <= moment <= down.until + _LIVE_SECONDS and _meet(gateways, down.gateway)
        ]
        others = [
            (fault.at, fault.kind)
            for fault in self.faults
            if fault.at <= moment <= fault.healed + _LIVE_SECONDS and fault.kind not in HARMLESS
        ]
        causes = stops if code < _UNSUBSCRIBED or code >= _CLOSED else []
        found = causes or others
        return max(found)[1] if found else OTHER


def linked(fault: Fault) -> str:
    """Name the gateway whose way to Redis a fault befell; empty: every one's."""
    return fault.target.removeprefix("link of ") if fault.target.startswith("link of ") else ""


def _meet(gateways: set[str], gateway: str) -> bool:
    return gateway in gateways or "" in gateways


def _arrival(pair: tuple[float, float]) -> float:
    return pair[1]
