"""The users of a load test: each has a socket, sits in a room, speaks and listens.

Runs in locust's processes only, where gevent has made blocking calls of ``websocket-client`` give
way to one another. ``python -m infra.load`` starts them and names the job's file.

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
import gevent.event
from locust import User, events, task
from locust.exception import StopUser
from websocket import ABNF, WebSocket, WebSocketException, create_connection

from infra.load.accounting import Publication, Room, Stay
from infra.load.result import Result, Sample
from infra.load.settings import HEADER

JOB = json.loads(Path(os.environ["DRAWBRIDGE_LOAD"]).read_text("utf-8"))
TLS = ssl.create_default_context(cafile=JOB["certificates"])
FILLER = "x" * 64

_ANSWER_SECONDS = 10.0
_CLOSE_SECONDS = 3.0
_AGAIN_SECONDS = (0.5, 2.0)
_SAMPLE_SECONDS = 1.0
_NORMAL = 1000
_WAY, _COMMAND, _DELIVERY = "WS", "COMMAND", "DELIVERY"


class Process:
    """What the users of this process share.

    Args:
        environment: locust's.
    """

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - locust is not typed
        self.number: int = environment.runner.worker_index
        self.began = time.monotonic()
        self.result = Result()
        self.rooms: collections.defaultdict[str, Room] = collections.defaultdict(Room)
        # Rooms of an earlier test, whose sockets may still be closing, are others.
        self.name = f"load-{secrets.token_hex(3)}-{self.number}"
        self._numbers = itertools.count()
        self._request = environment.events.request
        gevent.spawn(self._sample)

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


class Connection:
    """One socket: commands out, replies and publications in.

    Args:
        process: That of the user.
        number: Of the user.
        room: Where it sits.
        token: The user's.
    """

    def __init__(self, process: Process, *, number: int, room: str, token: str) -> None:
        self._process = process
        self._number = number
        self._channel = room
        self._room = process.rooms[room]
        self._token = token
        self._ids = itertools.count(1)
        self._pending: dict[int, tuple[str, float, Publication | None]] = {}
        self._answers: dict[int, gevent.event.AsyncResult] = {}
        self._stay: Stay | None = None
        self._leaving = False
        self._socket: WebSocket | None = None
        self._reader: Any = None

    @property
    def is_open(self) -> bool:
        """Whether one can speak."""
        return self._reader is not None and not self._reader.ready()

    def open(self) -> bool:
        """Connect and subscribe; returns whether that has succeeded."""
        begun = time.monotonic()
        by_header = JOB["travel"] == HEADER
        try:
            self._socket = create_connection(
                JOB["url"],
                timeout=_ANSWER_SECONDS,
                header={"Authorization": f"Bearer {self._token}"} if by_header else {},
                sslopt={"context": TLS},
                enable_multithread=True,
                # It is checked in Python, byte by byte, and this is no test of our own client.
                skip_utf8_validation=True,
            )
        except (WebSocketException, OSError) as error:
            self._process.failed(_WAY, "connect", _words(error))
            return False
        self._process.measured(_WAY, "connect", time.monotonic() - begun)
        self._socket.settimeout(None)
        self._reader = gevent.spawn(self._read)
        hello = self._ask("hello", {"connect": {} if by_header else {"token": self._token}})
        if hello is None:
            self.close()
            return False
        self._process.result.nodes[hello["connect"]["node"]] += 1
        if self._ask("subscribe", {"subscribe": {"channel": self._channel}}) is None:
            self.close()
            return False
        return True

    def publish(self) -> None:
        """Say something to the room; the reply is not waited for."""
        publication = self._room.publish(self._number, time.monotonic())
        data = {
            "from": self._number,
            "n": publication.sequence,
            "sent_at": time.time_ns(),
            "text": FILLER,
        }
        body = {"publish": {"channel": self._channel, "data": data}}
        self._send("publish", body, publication)

    def close(self) -> None:
        """Say goodbye, settle up, and wait for the server's goodbye."""
        if self._leaving or self._socket is None:
            return
        self._leaving = True
        self._settle()
        if self.is_open:
            try:
                self._socket.send_close(_NORMAL)
            except (WebSocketException, OSError) as error:
                self._process.failed(_WAY, "close", _words(error))
            self._reader.join(_CLOSE_SECONDS)
            if self.is_open:
                self._process.failed(_WAY, "close", "no answer")
                self._reader.kill()
        self._socket.shutdown()

    # --- out --------------------------------------------------------------------------------------

    def _ask(self, name: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Send a command and wait; None if it is refused, or not answered."""
        answer = gevent.event.AsyncResult()
        number = self._send(name, body, None, answer)
        try:
            reply: dict[str, Any] | None = answer.get(timeout=_ANSWER_SECONDS)
        except gevent.Timeout:
            if self._pending.pop(number, None):
                self._process.failed(_COMMAND, name, "no answer")
            return None
        return reply

    def _send(
        self,
        name: str,
        body: dict[str, Any],
        publication: Publication | None = None,
        answer: gevent.event.AsyncResult | None = None,
    ) -> int:
        number = next(self._ids)
        self._pending[number] = name, time.monotonic(), publication
        if answer is not None:
            self._answers[number] = answer
        self._write({"id": number, **body})
        return number

    def _write(self, message: dict[str, Any]) -> None:
        try:
            if self._socket is not None:
                self._socket.send(json.dumps(message, separators=(",", ":")))
        except (WebSocketException, OSError) as error:
            if not self._leaving:
                self._process.failed(_WAY, "send", _words(error))

    # --- in ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what comes, to the end."""
        words = self._read_to_the_end()
        if not self._leaving:
            self._process.failed(_WAY, "closed", words)
            self._settle()
            if self._socket is not None:
                self._socket.shutdown()
        for answer in self._answers.values():
            answer.set(None)

    def _read_to_the_end(self) -> str:
        try:
            while self._socket is not None:
                opcode, data = self._socket.recv_data()  # answers the pings of WebSocket itself
                if opcode == ABNF.OPCODE_CLOSE:
                    code, reason = data[:2], data[2:]
                    return f"{int.from_bytes(code)} {reason.decode(errors='replace')}"
                arrived, arrived_ns = time.monotonic(), time.time_ns()
                for line in data.splitlines():
                    self._take(json.loads(line), arrived, arrived_ns, len(line))
        except (WebSocketException, OSError, ValueError) as error:
            return _words(error)
        return "never opened"

    def _take(self, message: dict[str, Any], arrived: float, arrived_ns: int, length: int) -> None:
        if not message:  # the ping of the protocol
            self._write({})
        elif "push" in message:
            self._take_push(message["push"], arrived_ns, length)
        else:
            self._take_reply(message, arrived, length)

    def _take_push(self, push: dict[str, Any], arrived_ns: int, length: int) -> None:
        if push.get("channel") != self._channel or "pub" not in push:
            self._process.failed(_DELIVERY, "room", f"not for this room: {', '.join(push)}")
            return
        data = push["pub"]["data"]
        self._process.result.delivered += 1
        self._process.measured(_DELIVERY, "delivery", (arrived_ns - data["sent_at"]) / 1e9, length)
        if self._stay is not None:
            self._stay.receive(data["from"], data["n"])

    def _take_reply(self, message: dict[str, Any], arrived: float, length: int) -> None:
        number = message.get("id", 0)
        name, sent_at, publication = self._pending.pop(number, ("reply", 0.0, None))
        if "error" in message or name == "reply":
            error = message.get("error", {})
            words = f"{error.get('code', 'unknown')} {error.get('message', 'reply')}"
            self._process.failed(_COMMAND, name, words)
            message = {}
        else:
            self._process.measured(_COMMAND, name, arrived - sent_at, length)
            if publication is not None:
                publication.confirmed_at = arrived
                self._process.result.published += 1
            if name == "subscribe":
                self._stay = Stay(arrived)
        answer = self._answers.pop(number, None)
        if answer is not None:
            answer.set(message or None)

    # --- the account ------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Report what was owed and has not come, and what was not answered."""
        process, stay, self._stay = self._process, self._stay, None
        for name, _, _ in self._pending.values():
            process.failed(_COMMAND, name, "no answer")
        self._pending.clear()
        if stay is None:
            return
        balance = self._room.balance(
            stay, left_at=time.monotonic(), settle_seconds=JOB["settle"] / 2
        )
        process.result.owed += balance.owed
        if balance.lost:
            process.result.lost[self._channel] += len(balance.lost)
            process.failed(_DELIVERY, "lost", f"in {self._channel}", len(balance.lost))
        for count, words in ((stay.duplicates, "came twice"), (stay.reordered, "out of order")):
            if count:
                process.failed(_DELIVERY, "order", f"{words} in {self._channel}", count)


class Member(User):  # type: ignore[misc]
    """One user in one room, from the first handshake to the goodbye."""

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
            if self._connection is not None and self._connection.is_open:
                self.process.result.settled += 1
            raise StopUser
        if self._connection is None or not self._connection.is_open:
            self._connect()
        if self._connection is not None:
            self._connection.publish()

    def on_stop(self) -> None:
        """Close."""
        if self._connection is not None:
            self._connection.close()
        self.process.write()

    def _connect(self) -> None:
        """Connect, again and again while users may speak."""
        while True:
            connection = Connection(
                self.process, number=self._number, room=self._room, token=self._token
            )
            if connection.open():
                self._connection = connection
                return
            if self.process.left <= 0:
                return
            gevent.sleep(random.uniform(*_AGAIN_SECONDS))  # noqa: S311


def _words(error: Exception) -> str:
    """Describe a failure without what differs each time."""
    status = getattr(error, "status_code", None)
    return f"{status}" if status else f"{type(error).__name__} {error}".strip()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Any, **_: object) -> None:  # noqa: ANN401
    """Give the users of a worker what they share; the master has none."""
    if hasattr(environment.runner, "worker_index"):
        Member.process = Process(environment)
