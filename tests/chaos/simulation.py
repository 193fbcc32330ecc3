"""A history as a flawless gateway would leave it, made up in a moment."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.chaos.history import (
    CUT,
    Answered,
    Closed,
    Connected,
    End,
    Event,
    Fault,
    Kept,
    Received,
    Revoked,
    Sent,
    Subscribed,
    Unsubscribed,
)
from tests.chaos.schedule import Kind

CLIENTS = 6
CHANNELS = ("kept:0", "kept:1")
SECONDS = 60
_STEP = 0.1
_AWAY_SECONDS = 1.5
_LOST_AT = 40.0
_VICTIM = "victim-1-bare"
_REVOKED_AT = 35.0


@dataclass
class _Client:
    name: str
    channel: str
    position: int = 0
    epoch: str = "e0"
    back_at: float = 0.0
    there: bool = False
    known: bool = False


@dataclass
class _Stream:
    epoch: str = "e0"
    entries: list[tuple[str, float]] = field(default_factory=list)


class Simulation:
    """Draws a history from a seed: publications, clients that come and go, kills, a lost tail.

    Args:
        seed: Of what happens.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable
        self._events: list[Event] = []
        self._streams = {channel: _Stream() for channel in CHANNELS}
        self._clients = [
            _Client(f"client-{number}", CHANNELS[number % len(CHANNELS)])
            for number in range(CLIENTS)
        ]
        self._clients.append(_Client(_VICTIM, CHANNELS[0]))
        self._number = 0

    def run(self) -> list[Event]:
        """Return the history, in order."""
        lost = False
        for step in range(int(SECONDS / _STEP)):
            now = step * _STEP
            if not lost and now >= _LOST_AT:
                lost = True
                self._lose_tail(now)
            if step and step % 100 == 0:
                self._kill(now)
            for client in self._clients:
                if not client.there and now >= client.back_at:
                    self._come(client, now)
            for channel in CHANNELS:
                self._publish(channel, now)
            if abs(now - _REVOKED_AT) < _STEP / 2:
                self._events.append(Revoked(now, "token", "jti"))
                self._close(self._clients[-1], now + 0.4, 3005, back_at=SECONDS + 1)
        now = SECONDS + _AWAY_SECONDS
        for client in self._clients[:-1]:
            if not client.there:
                self._come(client, now)
        for channel in CHANNELS:
            name = self._publish(channel, now + 1)
            self._events.append(End(now + 1.5, channel, name))
        self._events.sort(key=lambda event: event.at)
        return self._events

    def _publish(self, channel: str, now: float) -> str:
        self._number += 1
        name = f"p{self._number}"
        stream = self._streams[channel]
        stream.entries.append((name, now))
        self._events.append(Sent(now, "client-0", channel, name))
        self._events.append(Answered(now + 0.01, "client-0", name, 0))
        if self._number % 50 == 0:
            self._keep(channel, now + 0.02)
        for client in self._clients:
            if client.there and client.channel == channel:
                self._catch_up(client, now + 0.01)
        return name

    def _keep(self, channel: str, now: float) -> None:
        entries = self._streams[channel].entries
        begin = max(0, len(entries) - 30)
        found = tuple((begin + at + 1, name) for at, (name, _) in enumerate(entries[begin:]))
        self._events.append(Kept(now, channel, found))

    def _catch_up(self, client: _Client, now: float) -> None:
        stream = self._streams[client.channel]
        for offset in range(client.position + 1, len(stream.entries) + 1):
            name, sent = stream.entries[offset - 1]
            received = Received(now, client.name, client.channel, offset, name, sent)
            self._events.append(received)
        client.position = len(stream.entries)

    def _come(self, client: _Client, now: float) -> None:
        stream = self._streams[client.channel]
        token = "token" if client.name == _VICTIM else "another"
        self._events.append(Connected(now, client.name, "", token))
        client.there = True
        self._subscribe(client, now, stream)

    def _subscribe(self, client: _Client, now: float, stream: _Stream) -> None:
        recovered = client.known and client.epoch == stream.epoch
        top = len(stream.entries)
        self._events.append(
            Subscribed(now, client.name, client.channel, stream.epoch, top, client.known, recovered)
        )
        if recovered:
            self._catch_up(client, now)
        client.position, client.epoch, client.known = top, stream.epoch, True

    def _close(self, client: _Client, now: float, code: int, *, back_at: float) -> None:
        if client.there:
            client.there, client.back_at = False, back_at
            self._events.append(Closed(now, client.name, code))

    def _kill(self, now: float) -> None:
        self._events.append(Fault(now, now + 1, now + 1.2, Kind.GATEWAY_KILL.value, "gateway-0"))
        for client in self._chance.sample(self._clients[:-1], 2):
            away = self._chance.uniform(0.2, _AWAY_SECONDS)
            self._close(client, now, CUT, back_at=now + away)

    def _lose_tail(self, now: float) -> None:
        self._events.append(Fault(now, now, now, Kind.REDIS_TAIL.value, "redis"))
        for stream in self._streams.values():
            del stream.entries[-self._chance.randrange(2, 12) :]
            stream.epoch = "e1"
        for client in self._clients[:-1]:
            if client.there:
                gone = Unsubscribed(now, client.name, client.channel, 2500)
                self._events.append(gone)
                self._subscribe(client, now, self._streams[client.channel])
