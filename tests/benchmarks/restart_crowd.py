"""Clients of the official Python SDK, in one process: each follows a room through restarts.

Reads one JSON object with the fields of :class:`Plan`, then says one JSON object a line on standard
output every few seconds. A line on its input lets some of them speak; at the next one they end, and
what each room's subscribers have got goes into the last report.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

import uvloop
from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    ConnectedContext,
    ConnectingContext,
    DisconnectedContext,
    PublicationContext,
    SubscribedContext,
    SubscriptionEventHandler,
)
from typing_extensions import override

from tests.benchmarks.crowd_side import orders, paced, repeat, say
from tests.benchmarks.following import Follower, Room

_OPENINGS_AT_ONCE = 50
_SPEAKERS = 4
_RESOLUTION = 1e-4
_COME_SECONDS = 60.0
_QUIET_SECONDS = 3.0
_LONGEST_END_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the clients of this process do.

    Attributes:
        url: Of the door.
        certificates: Whom to trust.
        tokens: One for each user; clients take them in turn.
        first: The number of the first client; others have the rest.
        step: From one client's number to the next one's.
        count: Clients.
        per_second: So many come in a second.
        rooms: How many there are in all; clients are dealt out to them.
        speech: Publications a second, of this process.
        report: Seconds between two reports.
    """

    url: str
    certificates: str
    tokens: list[str]
    first: int
    step: int
    count: int
    per_second: float
    rooms: int
    speech: float
    report: float

    def room(self, number: int) -> str:
        """Name a room."""
        return f"room:restart-{number % self.rooms}"


class Crowd:
    """All clients of the process.

    Args:
        plan: What they do.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.followers: defaultdict[str, list[Follower]] = defaultdict(list)
        self.came = self.failed = self.present = self.heard = 0
        self.delays: Counter[int] = Counter()
        self.slowest: dict[int, float] = {}
        self.closes: Counter[int] = Counter()
        self.returns: Counter[int] = Counter()
        self.codes: Counter[int] = Counter()
        self.away: Counter[int] = Counter()
        self.heard_at = time.monotonic()
        self._acknowledged: Counter[str] = Counter()
        self._unanswered: Counter[str] = Counter()
        self._silent = 0  # publications that nobody was there to make
        self._sending: set[asyncio.Task[None]] = set()
        self._clients: list[Client] = []
        self._tls = ssl.create_default_context(cafile=plan.certificates)

    async def come(self) -> None:
        """Let all come at the given pace."""
        plan = self.plan
        gate = asyncio.Semaphore(_OPENINGS_AT_ONCE)

        async def come(number: int) -> None:
            try:
                await self._follow(number)
            except (CentrifugeError, TimeoutError) as error:
                self.failed += 1
                sys.stderr.write(f"client {number}: {error}\n")
            finally:
                gate.release()

        async with asyncio.TaskGroup() as group:
            async for number in paced(1 / plan.per_second):
                if number == plan.count:
                    break
                await gate.acquire()
                group.create_task(come(plan.first + number * plan.step))

    async def _follow(self, number: int) -> None:
        watch = _Watch(self)
        client = self._client(number, watch)
        room = self.plan.room(number)
        follower = Follower()
        self._clients.append(client)
        subscription = client.new_subscription(room, events=_Ear(self, watch, follower))
        await client.connect()
        await subscription.subscribe()
        await subscription.ready(_COME_SECONDS)
        self.followers[room].append(follower)
        self.came += 1

    def _client(self, number: int, events: ClientEventHandler) -> Client:
        plan = self.plan
        return Client(
            plan.url,
            events,
            token=plan.tokens[number % len(plan.tokens)],
            ssl_context=self._tls,
            proxy=None,
        )

    async def speak(self, enough: asyncio.Event) -> None:
        """Publish into all rooms in turn, at an even pace, until it is enough."""
        loop, plan = asyncio.get_running_loop(), self.plan
        speakers = [
            self._client(plan.first + number * plan.step, ClientEventHandler())
            for number in range(_SPEAKERS)
        ]
        for speaker in speakers:
            await speaker.connect()
            await speaker.ready(_COME_SECONDS)
        async for number in paced(1 / plan.speech):
            if enough.is_set():
                break
            there = [speaker for speaker in speakers if speaker.state.value == "connected"]
            if not there:
                self._silent += 1
                continue
            room = plan.room(plan.first + number * plan.step)
            task = loop.create_task(self._say(there[number % len(there)], room))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        while self._sending:
            await asyncio.wait(self._sending)
        for speaker in speakers:
            await speaker.disconnect()

    async def _say(self, speaker: Client, room: str) -> None:
        try:
            await speaker.publish(room, {"sent": time.monotonic(), "text": "x" * 60})
        except (CentrifugeError, TimeoutError) as error:
            self._unanswered[type(error).__name__] += 1
        else:
            self._acknowledged[room] += 1

    async def quiet(self) -> None:
        """Wait until everybody is there and nothing comes any more."""
        until = time.monotonic() + _LONGEST_END_SECONDS
        while time.monotonic() < until:
            if self.present == self.came and time.monotonic() > self.heard_at + _QUIET_SECONDS:
                return
            await asyncio.sleep(0.1)

    def hear(self, sent: float) -> None:
        """Take the delay of a publication."""
        now = time.monotonic()
        self.heard_at = now
        self.heard += 1
        self.delays[math.ceil((now - sent) / _RESOLUTION)] += 1
        self.slowest[int(now)] = max(self.slowest.get(int(now), 0.0), now - sent)

    def report(self, *, last: bool = False) -> None:
        """Say what has happened."""
        said = {
            "came": self.came,
            "failed": self.failed,
            "present": self.present,
            "heard": self.heard,
            "delays": self.delays,
        }
        if last:
            said |= {
                "slowest": self.slowest,
                "closes": self.closes,
                "returns": self.returns,
                "codes": self.codes,
                "away": self.away,
                "acknowledged": self._acknowledged.total(),
                "unanswered": self._unanswered.total(),
                "silent": self._silent,
                "rooms": {
                    room: asdict(Room.of(followers, self._acknowledged[room]))
                    for room, followers in self.followers.items()
                },
                # Of rooms that nobody of this process is in.
                "elsewhere": {
                    room: count
                    for room, count in self._acknowledged.items()
                    if room not in self.followers
                },
            }
        say(said)
        self.delays = Counter()


class _Watch(ClientEventHandler):  # type: ignore[misc]
    """Notes when a connection goes.

    Attributes:
        gone_at: Since when it has been away; None while it is there, and before it came.
    """

    def __init__(self, crowd: Crowd) -> None:
        self.gone_at: float | None = None
        self._crowd = crowd
        self._connected = False

    @override
    async def on_connected(self, ctx: ConnectedContext) -> None:
        self._connected = True

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        self._end(ctx.code)

    @override
    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        self._end(ctx.code)

    def _end(self, code: int) -> None:
        if not self._connected:
            return
        self._connected = False
        now = time.monotonic()
        self._crowd.codes[code] += 1
        self._crowd.closes[int(now)] += 1
        if self.gone_at is None:
            self.gone_at = now
            self._crowd.present -= 1


class _Ear(SubscriptionEventHandler):  # type: ignore[misc]
    """Notes what one subscriber gets."""

    def __init__(self, crowd: Crowd, watch: _Watch, follower: Follower) -> None:
        self._crowd = crowd
        self._watch = watch
        self._follower = follower

    @override
    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        crowd, watch, position = self._crowd, self._watch, ctx.stream_position
        if watch.gone_at is not None:
            now = time.monotonic()
            crowd.returns[int(now)] += 1
            crowd.away[math.ceil((now - watch.gone_at) / _RESOLUTION)] += 1
            watch.gone_at = None
            crowd.present += 1
        elif not self._follower.epoch:
            crowd.present += 1
        self._follower.begin(
            offset=position.offset if position else 0,
            epoch=position.epoch if position else "",
            recovering=ctx.was_recovering,
            recovered=ctx.recovered,
        )

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        self._follower.receive(ctx.pub.offset)
        self._crowd.hear(ctx.pub.data["sent"])


async def _run() -> None:
    reader = await orders()
    crowd = Crowd(Plan(**json.loads(await reader.readline())))
    telling = asyncio.create_task(repeat(crowd.plan.report, crowd.report))
    await crowd.come()
    crowd.report()
    await reader.readline()  # all the others have come too
    enough = asyncio.Event()
    speaking = asyncio.create_task(crowd.speak(enough))
    await reader.readline()  # it is enough
    enough.set()
    await speaking
    await reader.readline()  # nobody speaks any more
    await crowd.quiet()
    telling.cancel()
    crowd.report(last=True)


if __name__ == "__main__":
    uvloop.run(_run())
