"""The users of a load test: each has a socket, sits in a room, speaks and listens.

Runs in locust's processes only. ``python -m infra.load`` starts them and names the job's file, in
which the scenario is: which class of users there are.

All members of a room are in one process, so one clock and one account serve all of them; their
sockets are still on all gateways. Users stop speaking when the time is over, wait until what was
said last must have come, settle up, and close; locust's own end comes after, so that all of it is
in its report.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import random
import secrets
import ssl
import time
from pathlib import Path
from typing import Any

import gevent
from locust import User, events, task
from locust.exception import StopUser
from typing_extensions import override

from infra.load.accounting import Room
from infra.load.connection import Connection, Place
from infra.load.result import Result, Sample
from infra.load.settings import CHAT, PARTS, ROOM, SLOW, SLOW_SHARE, SPEAKERS, STORM, STREAM

JOB = json.loads(Path(os.environ["DRAWBRIDGE_LOAD"]).read_text("utf-8"))

_AGAIN_SECONDS = (0.5, 2.0)
_SAMPLE_SECONDS = 1.0
_PART_SECONDS = 1 / 30
_READ_SECONDS = 3.0


class Process:
    """What the users of this process share.

    Args:
        environment: locust's.
    """

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - locust is not typed
        self.job = JOB
        self.tls = ssl.create_default_context(cafile=JOB["certificates"])
        self.number: int = environment.runner.worker_index
        self.began = time.monotonic()
        self.result = Result()
        self.rooms: collections.defaultdict[str, Room] = collections.defaultdict(Room)
        self.returning: list[Returning] = []
        # Rooms of an earlier test, whose sockets may still be closing, are others.
        self.name = f"load-{secrets.token_hex(3)}-{self.number}"
        self._numbers = itertools.count()
        self._request = environment.events.request
        gevent.spawn(self._sample)
        if JOB["scenario"] == STORM:
            gevent.spawn_later(JOB["storm_at"], self._storm)

    @property
    def seconds(self) -> float:
        """How long the test has run."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """How long users may still speak."""
        return float(JOB["seconds"]) - self.seconds

    def next_user(self) -> tuple[int, str, str]:
        """Return number, room and token of one more user."""
        number = next(self._numbers)
        self.result.started += 1
        token = JOB["tokens"][self.number + number * JOB["workers"]]
        return number, f"room:{self.name}-{number // JOB['room']}", token

    def measured(self, kind: str, name: str, seconds: float, length: int = 0) -> None:
        """Report what has succeeded."""
        milliseconds = seconds * 1000
        self.result.measure(name, milliseconds)
        self._fire(kind, name, milliseconds, length, None)

    def failed(self, kind: str, name: str, words: str, count: int = 1) -> None:
        """Report what has not."""
        self.result.failures[f"{name}: {words}"] += count
        for _ in range(count):
            self._fire(kind, name, None, 0, RuntimeError(words))

    def write(self) -> None:
        """Leave the result where it is looked for."""
        file = Path(JOB["reports"]) / f"result-{self.number}.json"
        file.write_text(self.result.dump(), encoding="utf-8")

    def _fire(
        self, kind: str, name: str, milliseconds: float | None, length: int, error: Exception | None
    ) -> None:
        self._request.fire(
            request_type=kind,
            name=name,
            response_time=milliseconds,
            response_length=length,
            exception=error,
            context={},
        )

    def _sample(self) -> None:
        at, cpu, published, delivered = time.monotonic(), time.process_time(), 0, 0
        while True:
            gevent.sleep(_SAMPLE_SECONDS)
            now, used = time.monotonic(), time.process_time()
            result, took = self.result, now - at
            result.samples.append(
                Sample(
                    at=round(self.seconds, 3),
                    published=round((result.published - published) / took),
                    delivered=round((result.delivered - delivered) / took),
                    cpu=round((used - cpu) / took, 4),
                )
            )
            at, cpu, published, delivered = now, used, result.published, result.delivered

    def _storm(self) -> None:
        """Cut everybody off in one moment; all come back at once."""
        for member in self.returning:
            gevent.spawn(member.come_back)


class Member(User):  # type: ignore[misc]
    """One user in one room, from the first handshake to the goodbye."""

    abstract = True
    process: Process
    _connection: Connection | None = None

    def on_start(self) -> None:
        """Come in, and spread the first words of all users over time."""
        self._number, self._room, self._token = self.process.next_user()
        self._connect()
        gevent.sleep(random.uniform(0, JOB["every"]))  # noqa: S311

    def wait_time(self) -> float:
        """Speak at an even pace, until the time is over."""
        pause = float(JOB["every"]) * random.uniform(0.9, 1.1)  # noqa: S311
        return max(0.0, min(pause, self.process.left))

    @task  # type: ignore[untyped-decorator]
    def talk(self) -> None:
        """Say something; when the time is over, listen a while longer and go."""
        if self.process.left <= 0:
            gevent.sleep(JOB["settle"])
            if self._connection is not None and self._is_there(self._connection):
                self.process.result.settled += 1
            raise StopUser
        if self._connection is None or not self._is_there(self._connection):
            self._connect()
        if self._connection is not None:
            self._speak(self._connection)

    def on_stop(self) -> None:
        """Close."""
        if self._connection is not None:
            self._connection.close()
        self.process.write()

    def _speak(self, connection: Connection) -> None:
        connection.publish()

    def _is_there(self, connection: Connection) -> bool:
        return connection.is_open

    def _connect(self, place: Place | None = None, *, reads: bool = True) -> None:
        """Connect, again and again while users may speak."""
        while True:
            connection = Connection(
                self.process,
                number=self._number,
                channel=self._room,
                room=self.process.rooms[self._room],
                token=self._token,
                place=place,
                reads=reads,
            )
            if connection.open():
                self._connection = connection
                return
            if self.process.left <= 0:
                return
            gevent.sleep(random.uniform(*_AGAIN_SECONDS))  # noqa: S311


class Chatting(Member):
    """All speak, and all listen."""

    abstract = JOB["scenario"] != CHAT


class Listening(Member):
    """A few speak, and a crowd listens."""

    abstract = JOB["scenario"] != ROOM

    @override
    def _speak(self, connection: Connection) -> None:
        if self._number % JOB["room"] < SPEAKERS:
            connection.publish()


class Returning(Member):
    """One whose network breaks down in the middle, with everybody else's."""

    abstract = JOB["scenario"] != STORM
    _away = False

    @override
    def on_start(self) -> None:
        """Be among those who are cut off."""
        self.process.returning.append(self)
        super().on_start()

    def come_back(self) -> None:
        """Lose the connection, and go on where one was."""
        if self._connection is None or not self._connection.is_open:
            return
        self._away = True
        place = self._connection.cut()
        begun = time.monotonic()
        self._connect(place)
        self.process.measured("WS", "return", time.monotonic() - begun)
        self._away = False

    @override
    def _is_there(self, connection: Connection) -> bool:
        return self._away or connection.is_open

    @override
    def _speak(self, connection: Connection) -> None:
        if not self._away:
            connection.publish()


class Stalling(Member):
    """Every tenth stops reading once it is there; the others must not notice."""

    abstract = JOB["scenario"] != SLOW

    @property
    def _reads(self) -> bool:
        return self._number % SLOW_SHARE != SLOW_SHARE - 1

    @override
    def on_stop(self) -> None:
        """See what became of those that did not read."""
        if not self._reads and self._connection is not None:
            self.process.result.slow += 1
            self.process.result.ended += self._connection.was_ended(_READ_SECONDS)
        super().on_stop()

    @override
    def _is_there(self, connection: Connection) -> bool:
        return not self._reads or connection.is_open

    @override
    def _speak(self, connection: Connection) -> None:
        if self._reads:
            connection.publish()

    @override
    def _connect(self, place: Place | None = None, *, reads: bool = True) -> None:
        super()._connect(place, reads=reads and self._reads)


class Streaming(Member):
    """What each says comes in many small parts, as a language model speaks."""

    abstract = JOB["scenario"] != STREAM

    @override
    def _speak(self, connection: Connection) -> None:
        begun = time.monotonic()
        for part in range(PARTS):
            gevent.sleep(max(0.0, begun + part * _PART_SECONDS - time.monotonic()))
            if not connection.is_open:
                return
            connection.publish(part)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Any, **_: object) -> None:  # noqa: ANN401
    """Give the users of a worker what they share; the master has none."""
    if hasattr(environment.runner, "worker_index"):
        Member.process = Process(environment)
