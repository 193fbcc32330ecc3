"""One socket of a load test: commands out, replies and publications in, and its account.

Runs in locust's processes only, where gevent has made blocking calls of ``websocket-client`` give
way to one another.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
import gevent.event
from websocket import ABNF, WebSocket, WebSocketException, create_connection

from infra.load.accounting import Publication, Room, Stay
from infra.load.result import Result
from infra.load.settings import HEADER

_ANSWER_SECONDS = 10.0
_CLOSE_SECONDS = 3.0
_NORMAL = 1000
_WAY, _COMMAND, _DELIVERY = "WS", "COMMAND", "DELIVERY"
# Of one that does not read: what is little here is much elsewhere.
_SMALL_WINDOW = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
_READ_BYTES = 1 << 16


class Process(Protocol):
    """What the connections of a process share.

    Attributes:
        job: What ``make load`` has written down.
        tls: Whom to trust.
        result: Where it is counted.
    """

    job: dict[str, Any]
    tls: Any
    result: Result

    def measured(self, kind: str, name: str, seconds: float, length: int = 0) -> None:
        """Report what has succeeded."""

    def failed(self, kind: str, name: str, words: str, count: int = 1) -> None:
        """Report what has not."""


@dataclass(slots=True)
class Place:
    """Where a connection was in its room, so that the next one can go on from there.

    Attributes:
        stay: The receiver's time in the room.
        epoch: Of the room's history.
        offset: Of what was received last.
    """

    stay: Stay
    epoch: str
    offset: int


class Connection:
    """One socket.

    Args:
        process: That of the user.
        number: Of the user.
        channel: Where it sits.
        room: The account of that channel.
        token: The user's.
        place: Where an earlier connection was, to recover from there.
        reads: False for one that reads nothing after its subscription.
    """

    def __init__(
        self,
        process: Process,
        *,
        number: int,
        channel: str,
        room: Room,
        token: str,
        place: Place | None = None,
        reads: bool = True,
    ) -> None:
        self._process = process
        self._number = number
        self._channel = channel
        self._room = room
        self._token = token
        self._place = place
        self._reads = reads
        self._recovers = place is not None
        self._ids = itertools.count(1)
        self._pending: dict[int, tuple[str, float, Publication | None]] = {}
        self._answers: dict[int, gevent.event.AsyncResult] = {}
        # When a part of a stream came last, by its sender.
        self._parts: dict[int, float] = {}
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
        by_header = self._process.job["travel"] == HEADER
        try:
            self._socket = create_connection(
                self._process.job["url"],
                timeout=_ANSWER_SECONDS,
                header={"Authorization": f"Bearer {self._token}"} if by_header else {},
                sslopt={"context": self._process.tls},
                sockopt=() if self._reads else _SMALL_WINDOW,
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
        if self._ask("subscribe", {"subscribe": self._subscription()}) is None:
            self.close()
            return False
        if not self._reads:
            self._reader.kill()
        return True

    def publish(self, part: int | None = None) -> None:
        """Say something to the room; the reply is not waited for.

        Args:
            part: Its number in a stream of parts, counted from 0.
        """
        publication = self._room.publish(self._number, time.monotonic())
        data = {
            "from": self._number,
            "n": publication.sequence,
            "sent_at": time.time_ns(),
            "text": "x" * self._process.job["size"],
        }
        if part is not None:
            data["part"] = part
        body = {"publish": {"channel": self._channel, "data": data}}
        self._send("publish", body, publication)

    def cut(self) -> Place | None:
        """End it without a word, as a network does; returns where it was.

        What was not confirmed yet is owed to nobody, and nobody's failure.
        """
        self._leaving = True
        self._pending.clear()
        self._drop()
        place, self._place = self._place, None
        return place

    def was_ended(self, seconds: float) -> bool:
        """Read what one that did not read has been sent; returns whether the server ended it.

        Args:
            seconds: How long to read at most.
        """
        until = time.monotonic() + seconds
        self._leaving = True
        ended = False
        if self._socket is not None and self._socket.sock is not None:
            try:
                while not ended and (left := until - time.monotonic()) > 0:
                    self._socket.sock.settimeout(left)
                    ended = not self._socket.sock.recv(_READ_BYTES)
            except TimeoutError:
                pass
            except OSError:
                ended = True
        self._drop()
        return ended

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

    def _subscription(self) -> dict[str, Any]:
        subscription: dict[str, Any] = {"channel": self._channel}
        if self._place is not None:
            place = self._place
            subscription |= {"recover": True, "epoch": place.epoch, "offset": place.offset}
        return subscription

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

    def _drop(self) -> None:
        """Close the socket below WebSocket and TLS."""
        if self._socket is not None and self._socket.sock is not None:
            with contextlib.suppress(OSError):
                self._socket.sock.shutdown(socket.SHUT_RDWR)
        if self._reader is not None:
            self._reader.join(_CLOSE_SECONDS)
        if self._socket is not None:
            self._socket.shutdown()

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
            self._take_push(message["push"], arrived, arrived_ns, length)
        else:
            self._take_reply(message, arrived, length)

    def _take_push(
        self, push: dict[str, Any], arrived: float, arrived_ns: int, length: int
    ) -> None:
        if push.get("channel") != self._channel or "pub" not in push:
            self._process.failed(_DELIVERY, "room", f"not for this room: {', '.join(push)}")
            return
        publication = push["pub"]
        data = publication["data"]
        self._process.result.delivered += 1
        self._process.measured(_DELIVERY, "delivery", (arrived_ns - data["sent_at"]) / 1e9, length)
        if "part" in data:
            since = self._parts.get(data["from"])
            if data["part"] and since is not None:
                self._process.measured(_DELIVERY, "gap", arrived - since)
            self._parts[data["from"]] = arrived
        self._note(publication)

    def _note(self, publication: dict[str, Any]) -> None:
        """Put down what was received, by a push or when it was made up for."""
        if self._place is not None:
            self._place.offset = publication.get("offset", 0)
            self._place.stay.receive(publication["data"]["from"], publication["data"]["n"])

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
                self._begin(message["subscribe"], arrived)
        answer = self._answers.pop(number, None)
        if answer is not None:
            answer.set(message or None)

    def _begin(self, subscribed: dict[str, Any], arrived: float) -> None:
        """Begin a stay, or go on with one."""
        if self._place is None:
            if self._reads:
                epoch, offset = subscribed.get("epoch", ""), subscribed.get("offset", 0)
                self._place = Place(Stay(arrived), epoch, offset)
        elif self._recovers and not subscribed.get("recovered"):
            self._process.failed(_COMMAND, "subscribe", "not recovered")
        else:
            for publication in subscribed.get("publications", ()):
                self._process.result.recovered += 1
                self._note(publication)

    # --- the account ------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Report what was owed and has not come, and what was not answered."""
        process, place, self._place = self._process, self._place, None
        for name, _, _ in self._pending.values():
            process.failed(_COMMAND, name, "no answer")
        self._pending.clear()
        if place is None:
            return
        stay = place.stay
        balance = self._room.balance(
            stay, left_at=time.monotonic(), settle_seconds=process.job["settle"] / 2
        )
        process.result.owed += balance.owed
        if balance.lost:
            process.result.lost[self._channel] += len(balance.lost)
            process.failed(_DELIVERY, "lost", f"in {self._channel}", len(balance.lost))
        for count, words in ((stay.duplicates, "came twice"), (stay.reordered, "out of order")):
            if count:
                process.failed(_DELIVERY, "order", f"{words} in {self._channel}", count)


def _words(error: Exception) -> str:
    """Describe a failure without what differs each time."""
    status = getattr(error, "status_code", None)
    return f"{status}" if status else f"{type(error).__name__} {error}".strip()
