"""One connection to Redis that is probed, and made again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_endpoint import Endpoint

logger = logging.getLogger(__name__)

_EXPECTED = (RedisError, OSError, TimeoutError)
_GRACE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a link is, in seconds.

    Attributes:
        connect: For connecting, TLS and AUTH together.
        reply: For the answer to a request; the caller is told then that there is none.
        probe: A connection that was silent so long is asked for a sign of life, and is given up
            after the same time again: a dead one is noticed within three times this.
        first_retry: The longest pause before the second attempt; doubled after every failure.
        last_retry: Where the doubling ends.
    """

    connect: float = 1.0
    reply: float = 0.9  # with the grace, a caller is told within a second
    probe: float = 1.5
    first_retry: float = 0.1
    last_retry: float = 2.0


class Speaker(Protocol):
    """Who speaks over a link; every call returns at once and must not raise, unless it says so."""

    def connected(self) -> None:
        """A connection is there; whatever was said over an earlier one is forgotten."""

    def received(self, reply: Any) -> None:  # noqa: ANN401 - whatever Redis sends
        """Take one reply or message; an error reply comes as a ``ResponseError``.

        Raises:
            RedisError: Not to be understood; the connection is given up.
        """

    def probe(self) -> None:
        """Write something that Redis will answer."""

    def lost(self, heard_at: float) -> None:
        """The connection is gone. ``heard_at``: until when, in loop time, it surely worked."""


class Link:
    """Keeps one connection open for its speaker, as long as :meth:`run` runs.

    Args:
        endpoint: Where to connect to.
        speaker: Who speaks over it.
        name: Of the link, in the log.
        timing: How patient it is.
        jitter: Returns numbers from 0 to 1. Many gateways lose Redis in the same moment; this
            keeps them from coming back in the same moment.

    Attributes:
        connected: Whether there is a connection now.
        reconnects: How often one was made after the first.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        speaker: Speaker,
        *,
        name: str,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.connected = False
        self.reconnects = 0
        self._endpoint = endpoint
        self._speaker = speaker
        self._name = name
        self._timing = timing
        self._jitter = jitter
        self._outgoing: list[bytes] = []
        self._wake = asyncio.Event()
        self._heard_at = 0.0
        self._made = 0

    def write(self, data: bytes) -> None:
        """Send, together with all else that is written in this tick; in order.

        Without a connection it is dropped: what is meant for one is never sent over another.
        """
        if self.connected:
            self._outgoing.append(data)
            self._wake.set()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await self._hold()
            except _EXPECTED as error:
                # Once per outage; the attempts that follow would only repeat it.
                level = logging.DEBUG if failures else logging.WARNING
                fields = {"link": self._name, "reason": f"{type(error).__name__}: {error}"}
                logger.log(level, "redis is away", extra=fields)
            except Exception:
                # A fault of ours must not end the supervision.
                logger.exception("redis link failed", extra={"link": self._name})
            if loop.time() - began > self._timing.last_retry + self._timing.connect:
                failures = 0
            longest = min(
                self._timing.last_retry, self._timing.first_retry * 2.0 ** min(failures, 30)
            )
            failures += 1
            await asyncio.sleep(longest * (0.5 + 0.5 * self._jitter()))

    async def _hold(self) -> None:
        """Connect, and stay connected until that fails."""
        loop = asyncio.get_running_loop()
        connection = self._endpoint.connection()
        writer: asyncio.StreamWriter | None = None
        try:
            # Ends with the reply to CLIENT SETNAME: a port that only accepts is no Redis.
            async with asyncio.timeout(self._timing.connect):
                await connection.connect()  # type: ignore[no-untyped-call]
            writer = connection._writer  # noqa: SLF001 - see _abort
            self._open(loop.time())
            await _until_one_ends(self._read(connection), self._write(connection), self._probe())
        finally:
            if self.connected:
                self.connected = False
                self._outgoing.clear()
                self._speaker.lost(self._heard_at)
            await _abort(connection, writer)

    def _open(self, now: float) -> None:
        self.connected = True
        self._heard_at = now
        self._made += 1
        self.reconnects = self._made - 1
        logger.info("redis is connected", extra={"link": self._name})
        self._speaker.connected()

    async def _read(self, connection: AbstractConnection) -> None:
        now = asyncio.get_running_loop().time
        received = self._speaker.received
        while True:
            try:
                # Suspends only where the socket's buffer is used up: a burst is one batch.
                reply = await connection.read_response(timeout=math.inf)
            except ResponseError as error:
                reply = error
            self._heard_at = now()
            received(reply)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            # It would connect by itself, unsubscribed, where the reader has found the end.
            if not data or not connection.is_connected:
                continue
            try:
                await connection.send_packed_command(data, check_health=False)
            except RuntimeError as error:  # uvloop's, for a socket that it has closed
                raise ConnectionResetError(str(error)) from error

    async def _probe(self) -> None:
        # Periods are counted, not seconds: after a stall of our own process, what came meanwhile
        # is read before the next period ends.
        probed = False
        while True:
            before = self._heard_at
            await asyncio.sleep(self._timing.probe)
            if self._heard_at != before:
                probed = False
            elif probed:
                raise TimeoutError("silent")
            else:
                probed = True
                self._speaker.probe()


class Patience:
    """Futures that are given the same time to be done, and fail with BrokerUnavailable.

    One timer for all: at tens of thousands of requests a second, one each would cost more than
    the requests.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Let a future fail if it is not done in time."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((loop.time() + self._seconds, future))
        if self._timer is None:
            self._timer = loop.call_at(waiting[0][0], self._ring, loop)

    def close(self) -> None:
        """End; what is still watched is left alone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not before what has come in the meantime was read: after a stall of our own process the
        # timers are the first to be heard.
        self._timer = loop.call_later(self._seconds * _GRACE, self._expire, loop, loop.time())

    def _expire(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._timer = None
        while self._waiting:
            due, future = self._waiting[0]
            if not future.done():
                if due > now:
                    self._timer = loop.call_at(due, self._ring, loop)
                    return
                future.set_exception(BrokerUnavailable("no answer in time"))
            self._waiting.popleft()


async def _abort(connection: AbstractConnection, writer: asyncio.StreamWriter | None) -> None:
    # redis-py only closes, which waits for the peer to take what is buffered: for ever, if the
    # peer is silent. It offers no other way to the transport, and where a write was cancelled it
    # has closed and forgotten it already.
    writer = writer or connection._writer  # noqa: SLF001
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run them side by side until one ends, which ends all; raises what it raised.

    Unlike a task group it never loses a cancellation that meets a failure (Python 3.11's raises
    the failure then, and whoever cancelled would wait for ever).
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
