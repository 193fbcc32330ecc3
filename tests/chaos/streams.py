"""Promises 1 and 6: every publication in order, once, or told; nothing acknowledged is lost.

Each client's history of a channel is a chain of publications whose offsets follow each other, as
long as nobody told it of a gap. What a client has at an offset must have the same predecessor
everywhere: two clients that agree on a publication and not on the one before it have been on
different streams, and one of them was not told.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from operator import itemgetter

from tests.chaos.circumstances import Circumstances
from tests.chaos.excuses import RECOVERY_SECONDS
from tests.chaos.history import (
    Answered,
    End,
    Event,
    Kept,
    Received,
    Sent,
    Subscribed,
    Unsubscribed,
)
from tests.chaos.verdict import Verdict

WHOLE = "kept:"
"""Channels whose history is long enough for every outage here."""

_RESUMED_WITH_AT_MOST = 300
PASSING = ("victim-", "slow-")
"""Clients that leave before the end."""

_ON_ITS_WAY_SECONDS = 5.0
_Node = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class _Unseen:
    """What went through a short history between two looks at it.

    Attributes:
        since: The first look.
        until: The second.
        offsets: Of the entries that neither saw.
    """

    since: float
    until: float
    offsets: range


class _Chain:
    """One client's history of one channel."""

    __slots__ = ("active", "at", "epoch", "last", "offset", "told")

    def __init__(self) -> None:
        self.active = False
        self.epoch = ""
        self.offset: int | None = None
        self.last: str | None = None
        self.at = 0.0
        # Up to here it was told that it has not got everything.
        self.told = 0


class _Checker:
    def __init__(self, circumstances: Circumstances) -> None:
        self.verdict = Verdict()
        self._circumstances = circumstances
        self._chains: dict[tuple[str, str], _Chain] = defaultdict(_Chain)
        self._before: dict[_Node, tuple[str, str]] = {}
        self._places: dict[str, int] = {}
        self._received: dict[str, set[str]] = defaultdict(set)
        self._sent: dict[str, Sent] = {}
        self._acknowledged: dict[str, float] = {}
        self._ends: list[End] = []
        self._heard: dict[str, list[Received]] = defaultdict(list)
        self._arrivals: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._tops: dict[str, tuple[int, str]] = {}
        self._looked: dict[str, float] = defaultdict(lambda: -inf)
        self._unseen: dict[str, list[_Unseen]] = defaultdict(list)

    def take(self, event: Event) -> None:
        match event:
            case Received():
                self._receive(event)
            case Subscribed():
                self._subscribe(event)
            case Unsubscribed():
                self._chains[event.client, event.channel].active = False
            case Kept():
                self._keep(event)
            case Sent():
                self._sent[event.id] = event
                self.verdict.counts["attempts to publish"] += 1
            case Answered(code=0):
                self._acknowledged[event.id] = event.at
            case End():
                self._ends.append(event)
            case _:
                pass

    def finish(self) -> Verdict:
        counts = self.verdict.counts
        counts["publications acknowledged"] = len(self._acknowledged)
        counts["clients with a history"] = len(self._chains)
        self._check_acknowledged()
        self._check_ends()
        return self.verdict

    # What arrives

    def _receive(self, event: Received) -> None:
        self.verdict.counts["deliveries"] += 1
        if event.channel.startswith("flood:"):
            return
        chain = self._chains[event.client, event.channel]
        if chain.offset is None:
            self._break(event, "order", f"offset {event.offset} before any subscription")
        elif event.offset <= chain.offset:
            rule = "once" if event.id in self._received[event.client] else "order"
            self._break(event, rule, f"offset {event.offset} after {chain.offset}: {event.id}")
            return
        elif event.offset != chain.offset + 1:
            missing = f"{chain.offset + 1} to {event.offset - 1}"
            self._break(event, "silence", f"offsets {missing} never came, and nobody said so")
            chain.last = None
        elif chain.last is not None:
            node = event.channel, event.offset, event.id
            self._follow(event, node, chain.last, event.client)
        if event.id in self._received[event.client]:
            self._break(event, "once", f"{event.id} came twice")
        self._received[event.client].add(event.id)
        self._heard[event.id].append(event)
        if not event.channel.startswith(WHOLE):
            self._arrivals[event.channel].append((event.at, event.offset))
        self._place(event, event.channel, event.offset, event.id)
        chain.offset, chain.last, chain.at = event.offset, event.id, event.at

    def _subscribe(self, event: Subscribed) -> None:
        counts = self.verdict.counts
        chain = self._chains[event.client, event.channel]
        before, chain.active = chain.offset, True
        counts["subscriptions"] += 1
        if event.recovered and before is not None:
            counts["subscriptions resumed"] += 1
            # What was missed follows, one after the other; the position is as it was.
            # Who subscribed to a stream that nobody had written to knows no epoch.
            if chain.epoch and event.epoch != chain.epoch:
                text = f"resumed in epoch {event.epoch} what was of {chain.epoch}"
                self._break(event, "lost tail", text)
            elif event.offset < before:
                text = f"resumed at {event.offset}, and {before} was there already"
                self._break(event, "lost tail", text)
            chain.epoch, chain.at = event.epoch, event.at
            return
        if event.asked and before is not None:
            counts["told of a gap"] += 1
            self._check_reason(event, chain, before)
            chain.told = event.offset
        chain.epoch, chain.offset, chain.last = event.epoch, event.offset, None
        chain.at = event.at

    def _check_reason(self, event: Subscribed, chain: _Chain, before: int) -> None:
        """A gap that there was not costs every client the history, and is no less wrong."""
        if self._circumstances.lost(chain.at, event.at) or not event.channel.startswith(WHOLE):
            return
        if not 0 <= event.offset - before <= _RESUMED_WITH_AT_MOST:
            return
        text = f"not resumed at {before} of {chain.epoch}; the top is {event.offset}"
        self._break(event, "told without cause", text, promise=5)

    # What belongs where

    def _keep(self, event: Kept) -> None:
        if not event.channel.startswith(WHOLE):
            self._note_unseen(event)
        last: str | None = None
        for offset, name in event.entries:
            if last is not None:
                self._follow(event, (event.channel, offset, name), last, "Redis")
            self._place(event, event.channel, offset, name)
            last = name
        self.verdict.counts["entries read from Redis"] += len(event.entries)

    def _follow(self, event: Event, node: _Node, before: str, witness: str) -> None:
        channel, offset, name = node
        known = self._before.setdefault(node, (before, witness))
        if known[0] != before:
            if any(self._nobody_left(name, event.at) for name in (before, known[0])):
                self.verdict.counts["lost tail that no gateway was left to know of"] += 1
                return
            text = f"before {name} ({offset}) {witness} has {before}, {known[1]} {known[0]}"
            client = witness if witness != "Redis" else known[1]
            self._add("lost tail", event.at, text, client=client, channel=channel)

    def _nobody_left(self, name: str, moment: float) -> bool:
        """Say whether each gateway that had delivered something ended before it was asked for.

        ADR 0012: then nobody can know that the stream is another one.
        """
        return any(
            self._circumstances.stopped(
                {(heard.client, heard.at) for heard in self._heard[name] if heard.at <= loss.ended},
                # One that ended later had reached Redis again, and was to tell.
                min(moment, loss.ended + RECOVERY_SECONDS),
            )
            for loss in self._circumstances.losses
            if loss.at <= moment
        )

    def _place(self, event: Event, channel: str, offset: int, name: str) -> None:
        if self._places.setdefault(name, offset) != offset:
            text = f"{name} has the offsets {self._places[name]} and {offset}"
            self._add("once", event.at, text, channel=channel)

    def _note_unseen(self, event: Kept) -> None:
        """Note what was pushed out of a short history before this look at it."""
        channel, first = event.channel, event.entries[0]
        top, name = self._tops.get(channel, (0, ""))
        if first != (top, name):
            # Of a stream that has lost its end, or begun anew, it is not known from where on.
            began = top + 1 if first[0] > top else 1
            unseen = _Unseen(self._looked[channel], event.at, range(began, first[0]))
            self._unseen[channel].append(unseen)
        self._tops[channel], self._looked[channel] = event.entries[-1], event.at

    def _rooms(self, channel: str) -> list[tuple[_Unseen, int]]:
        """Count the entries of a short history that nobody has seen, by the looks around them."""
        arrivals, rooms = self._arrivals[channel], []
        for unseen in self._unseen[channel]:
            begin = bisect_left(arrivals, unseen.since, key=itemgetter(0))
            end = bisect_right(arrivals, unseen.until + _ON_ITS_WAY_SECONDS, key=itemgetter(0))
            heard = {offset for _, offset in arrivals[begin:end]}
            rooms.append((unseen, sum(offset not in heard for offset in unseen.offsets)))
        return rooms

    # The end

    def _check_acknowledged(self) -> None:
        rooms: dict[str, list[tuple[_Unseen, int]]] = {}
        for name, at in self._acknowledged.items():
            sent = self._sent.get(name)
            if sent is None or sent.channel.startswith("flood:") or name in self._places:
                continue
            if self._circumstances.may_be_lost(at):
                self.verdict.counts["acknowledged, and lost with Redis' data"] += 1
                continue
            if sent.channel not in rooms:
                rooms[sent.channel] = self._rooms(sent.channel)
            if _take_room(rooms[sent.channel], sent.at, at):
                self.verdict.counts["acknowledged, and pushed out of a short history unseen"] += 1
                continue
            text = f"{name} was acknowledged, and is nowhere"
            self._add("acknowledged", at, text, client=sent.client, channel=sent.channel, promise=6)

    def _check_ends(self) -> None:
        last = {end.channel: end for end in self._ends}
        ended: dict[str, set[str]] = defaultdict(set)
        for end in self._ends:
            ended[end.channel].add(end.id)
        for (client, channel), chain in self._chains.items():
            if channel not in last or client.startswith(PASSING):
                continue
            self.verdict.counts["clients that heard the last word"] += 1
            missing = {
                word
                for word in ended[channel] - self._received[client]
                if self._places.get(word, inf) > chain.told
            }
            if missing:
                text = f"never came: {sorted(missing)}; its offset is {chain.offset}"
                self._add("silence", last[channel].at, text, client=client, channel=channel)

    def _break(
        self, event: Received | Subscribed, rule: str, text: str, *, promise: int = 1
    ) -> None:
        self._add(rule, event.at, text, client=event.client, channel=event.channel, promise=promise)

    def _add(
        self,
        rule: str,
        at: float,
        text: str,
        *,
        client: str = "",
        channel: str = "",
        promise: int = 1,
    ) -> None:
        self.verdict.add(promise, rule, at, text, client=client, channel=channel)


def _take_room(rooms: list[tuple[_Unseen, int]], begin: float, end: float) -> bool:
    """Say whether there was room for one more where nobody looked; then there is less."""
    for place, (unseen, room) in enumerate(rooms):
        if room and begin <= unseen.until and end >= unseen.since:
            rooms[place] = unseen, room - 1
            return True
    return False


def check_streams(events: Iterable[Event], circumstances: Circumstances) -> Verdict:
    """Judge promises 1 and 6, and what 5 says of gaps.

    Args:
        events: The whole history, in order.
        circumstances: Of it.
    """
    checker = _Checker(circumstances)
    for event in events:
        checker.take(event)
    return checker.finish()
