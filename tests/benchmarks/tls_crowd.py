"""Thousands of clients with TLS, in one process: they come, listen, and now and then one speaks.

Reads one JSON object with the fields of :class:`Plan`, then says one JSON object a line on standard
output every few seconds, and a last one when its input is closed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import ssl
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import cast

import uvloop
from typing_extensions import override

from tests.benchmarks.crowd_side import orders, paced, repeat, say

_OPENINGS_AT_ONCE = 50
_HEADER_16, _HEADER_64 = 126, 127
_TEXT, _FIN = 0x1, 0x80
_PING = b"{}"
_SENT_AT = b'"sent_at":'
_RESOLUTION = 1e-4
_QUIET_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the clients of this process do.

    Attributes:
        port: Of the front.
        certificates: Whom to trust.
        tokens: One for each user; clients take them in turn.
        first: The number of the first client; others have the rest.
        step: From one client's number to the next one's.
        count: Clients.
        per_second: So many come in a second.
        members: Of a room; the first of each speaks.
        every: Seconds between two words of one that speaks.
        report: Seconds between two reports.
    """

    port: int
    certificates: str
    tokens: list[str]
    first: int
    step: int
    count: int
    per_second: float
    members: int
    every: float
    report: float


class Crowd:
    """All clients of the process.

    Attributes:
        subscribed: How many are there.
        lost: How many have gone without being asked to.
        failed: How many never came.
        sent: Publications whose room was complete.
        heard: Of these, how many times one was heard here.
        delays: From its being sent to its being heard, in ten-thousandths of a second.
        complete: All clients of all processes are there.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.subscribed = self.lost = self.failed = self.sent = self.heard = 0
        self.delays: Counter[int] = Counter()
        self.complete = False
        self._ended = asyncio.Event()
        self._clients: list[Client] = []
        self._coming: set[asyncio.Task[None]] = set()
        self._tls = ssl.create_default_context(cafile=plan.certificates)

    @property
    def ending(self) -> bool:
        """Whether it is time to go."""
        return self._ended.is_set()

    def end(self) -> None:
        """Say that it is."""
        self._ended.set()

    async def come(self) -> None:
        """Open all connections at the given pace."""
        loop, plan = asyncio.get_running_loop(), self.plan
        gate = asyncio.Semaphore(_OPENINGS_AT_ONCE)
        async for number in paced(1 / plan.per_second):
            if number == plan.count:
                break
            await gate.acquire()
            task = loop.create_task(self._open(plan.first + number * plan.step))
            task.add_done_callback(lambda _done: gate.release())
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)
        while self._coming:
            await asyncio.wait(self._coming)

    async def _open(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        # One address has 28,000 ports, of which some are taken.
        source = f"127.{1 + number // 40_000}.{number // 200 % 200}.{1 + number % 200}"
        try:
            _, client = await loop.create_connection(
                lambda: Client(self, number),
                "127.0.0.1",
                self.plan.port,
                ssl=self._tls,
                server_hostname="localhost",
                local_addr=(source, 0),
            )
            await client.ready
            self._clients.append(client)
        except OSError as error:  # ConnectionError is one
            self.failed += 1
            sys.stderr.write(f"client {number}: {error}\n")

    async def speak(self) -> None:
        """Let the first of each room say something every so often, all of them in turn."""
        plan = self.plan
        speakers = [client for client in self._clients if client.number % plan.members == 0]
        if not speakers:
            return
        async for number in paced(plan.every / len(speakers)):
            if self.ending:
                break
            self.sent += speakers[number % len(speakers)].speak()

    async def quiet(self) -> None:
        """Wait until nothing has come for a while, however long what is on its way may take."""
        heard = -1
        while heard != self.heard:
            heard = self.heard
            await asyncio.sleep(_QUIET_SECONDS)

    def heard_one(self, message: bytes) -> None:
        """Take the delay of a publication."""
        start = message.find(_SENT_AT) + len(_SENT_AT)
        delay = time.monotonic() - float(message[start : message.index(b",", start)])
        self.heard += 1
        self.delays[math.ceil(delay / _RESOLUTION)] += 1

    def report(self) -> None:
        """Say what has happened since the last time."""
        say(
            {
                "at": time.monotonic(),
                "subscribed": self.subscribed,
                "lost": self.lost,
                "failed": self.failed,
                "sent": self.sent,
                "heard": self.heard,
                "delays": self.delays,
            }
        )
        self.delays = Counter()


class Client(asyncio.Protocol):
    """One client: its handshake, its subscription, and what it hears.

    Attributes:
        number: Of all clients of all processes.
        ready: Done when it is subscribed.
    """

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.number = number
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._room = f"room:crowd-{number // crowd.plan.members}"
        self._buffer = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What uvloop puts around TLS is no subclass.
        self._transport = sent_to = cast("asyncio.Transport", transport)
        plan = self._crowd.plan
        sent_to.write(
            "\r\n".join(
                (
                    "GET /connection/websocket HTTP/1.1",
                    f"Host: localhost:{plan.port}",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                    "Sec-WebSocket-Version: 13",
                    f"Authorization: Bearer {plan.tokens[self.number % len(plan.tokens)]}",
                    "Sec-WebSocket-Protocol: centrifuge-json",
                    "",
                    "",
                )
            ).encode()
        )

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head:
                self._fail(head.decode("latin-1").partition("\r\n")[0])
                return
            self._upgraded, self._buffer = True, rest
            self._send({"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": self._room}})
        while (message := self._take()) is not None:
            for line in message.split(b"\n"):
                self._hear(line)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.ready.done() and not self._crowd.ending:
            self._crowd.lost += 1
            self._crowd.subscribed -= 1
        self._fail(str(exc or "closed"))

    def speak(self) -> bool:
        """Publish, and say whether all of the room are there to hear it."""
        data = {"sent_at": time.monotonic(), "text": "x" * 60}
        self._send({"id": 3, "publish": {"channel": self._room, "data": data}})
        return self._crowd.complete

    def _hear(self, line: bytes) -> None:
        if line == _PING:
            self._send({})
        elif _SENT_AT in line:
            self._crowd.heard_one(line)
        elif b'"error"' in line:
            self._fail(line.decode())
        elif b'"id":2,' in line and not self.ready.done():
            self._crowd.subscribed += 1
            self.ready.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
        if self._transport is not None:
            self._transport.abort()

    def _take(self) -> bytes | None:
        """Return the next whole message that has come."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1], 2
        if length == _HEADER_16:
            length, start = int.from_bytes(buffer[2:4], "big"), 4
        elif length == _HEADER_64:
            length, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return buffer[start : start + length] if buffer[0] == _FIN | _TEXT else b""

    def _send(self, *commands: object) -> None:
        payload = b"\n".join(json.dumps(one, separators=(",", ":")).encode() for one in commands)
        header = struct.pack("!BBH", _FIN | _TEXT, _FIN | _HEADER_16, len(payload))
        if len(payload) < _HEADER_16:
            header = bytes((_FIN | _TEXT, _FIN | len(payload)))
        assert self._transport is not None
        self._transport.write(header + bytes(4) + payload)  # a mask of zeros is one


async def _run() -> None:
    reader = await orders()
    crowd = Crowd(Plan(**json.loads(await reader.readline())))
    telling = asyncio.create_task(repeat(crowd.plan.report, crowd.report))
    await crowd.come()
    crowd.report()
    await reader.readline()  # all the others have come too
    crowd.complete = True
    speaking = asyncio.create_task(crowd.speak())
    await reader.readline()  # it is time to go
    crowd.end()
    await speaking
    telling.cancel()
    await crowd.quiet()
    crowd.report()


if __name__ == "__main__":
    uvloop.run(_run())
