"""One connection to Redis that is probed, and made again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from typing_extensions import override

from ws_gateway.answers import Answer
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_endpoint import Endpoint

logger = logging.getLogger(__name__)

_EXPECTED = (RedisError, OSError, TimeoutError)
_GRACE = 0.1
_BUSY_PER_SECOND = 3000
_LOOK_SECONDS = 0.01
_COMPANY_SECONDS = 0.001  # as short as the event loop's timers are
_NOTHING = object()
"""Of a reply that is not whole yet."""


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
        heard_at: When something came over it last, in loop time.
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
        self._transport: asyncio.WriteTransport | None = None
        self._ended: asyncio.Future[None] | None = None
        self.heard_at = 0.0
        self._made = 0
        self._busy = False
        self._written = 0
        self._looked_at = 0.0

    def write(self, data: bytes) -> None:
        """Send, together with all else that is written in this tick; in order.

        Where thousands a second are written, it waits a moment for the next: to wake Redis, and to
        be woken by it, for each alone costs both of them more than all the rest.

        Without a connection it is dropped: what is meant for one is never sent over another.
        """
        if self.connected:
            if not self._outgoing:
                self._plan(asyncio.get_running_loop())
            self._outgoing.append(data)
            self._written += 1

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say when what is about to be written will be sent."""
        now = loop.time()
        lasted = now - self._looked_at
        if lasted >= _LOOK_SECONDS:
            self._busy = self._written >= _BUSY_PER_SECOND * lasted
            self._looked_at = now
            self._written = 0
        if self._busy:
            loop.call_later(_COMPANY_SECONDS, self._flush)
        else:
            loop.call_soon(self._flush)

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
        self._ended = ended = loop.create_future()
        try:
            # Ends with the reply to CLIENT SETNAME: a port that only accepts is no Redis.
            async with asyncio.timeout(self._timing.connect):
                await connection.connect()  # type: ignore[no-untyped-call]
            reader, writer = connection._reader, connection._writer  # noqa: SLF001 - see _abort
            if reader is None or writer is None or reader.at_eof():
                raise ConnectionResetError("closed at once")
            # redis-py has opened it, with TLS and AUTH, and has read the last of its replies. From
            # here on its streams would only stand between: a wait for each reply, a task for each
            # direction.
            writer.transport.set_protocol(_Ear(self._hear, ended))
            self._transport = writer.transport
            self._open(loop.time())
            await self._watch(ended)
        finally:
            if self.connected:
                self.connected = False
                self._outgoing.clear()
                self._speaker.lost(self.heard_at)
            self._transport = None
            if not ended.cancel():
                ended.exception()  # it may have failed while we were cancelled
            await _abort(connection, writer)

    def _open(self, now: float) -> None:
        self.connected = True
        self.heard_at = now
        self._made += 1
        self.reconnects = self._made - 1
        logger.info("redis is connected", extra={"link": self._name})
        self._speaker.connected()

    def _hear(self, replies: Iterator[Any]) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        received = self._speaker.received
        for reply in replies:
            received(reply)

    def _flush(self) -> None:
        outgoing, transport = self._outgoing, self._transport
        # What was said over a connection that is lost was thrown away with it.
        if not outgoing or transport is None or transport.is_closing():
            return
        data = outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
        outgoing.clear()
        try:
            transport.write(data)
        except RuntimeError as error:  # uvloop's, for a socket that it has closed
            if self._ended is not None and not self._ended.done():
                self._ended.set_exception(ConnectionResetError(str(error)))

    async def _watch(self, ended: asyncio.Future[None]) -> None:
        """Ask for signs of life until the connection ends; raises why."""
        # Periods are counted, not seconds: after a stall of our own process, what came meanwhile
        # is read before the next period ends.
        probed = False
        while True:
            before = self.heard_at
            await asyncio.wait([ended], timeout=self._timing.probe)
            if ended.done():
                ended.result()
            if self.heard_at != before:
                probed = False
            elif probed:
                raise TimeoutError("silent")
            else:
                probed = True
                self._speaker.probe()


class _Ear(asyncio.Protocol):
    """Reads replies from the socket of one connection.

    Args:
        hear: Takes all replies of one read.
        ended: Fails when the connection has ended, or cannot be understood.
    """

    def __init__(self, hear: Callable[[Iterator[Any]], None], ended: asyncio.Future[None]) -> None:
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=_read_error, notEnoughData=_NOTHING
        )
        self._hear = hear
        self._ended = ended

    @override
    def data_received(self, data: bytes) -> None:
        if self._ended.done():
            return
        self._reader.feed(data)
        try:
            self._hear(iter(self._reader.gets, _NOTHING))
        except Exception as error:  # noqa: BLE001 - who supervises the link says what is to be done
            self._ended.set_exception(error)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(exc or ConnectionResetError("closed by Redis"))


_ERRORS: dict[str, type[ResponseError]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "MOVED": MovedError,
    "NOSCRIPT": NoScriptError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
}


def _read_error(text: str) -> ResponseError:
    code, _, rest = text.partition(" ")
    kind = _ERRORS.get(code, ResponseError)
    # These two read slot and address out of what follows the word.
    return kind(rest if issubclass(kind, AskError) else text)


class Patience:
    """Futures and answers that are given the same time to be done; BrokerUnavailable after it.

    One timer for all: at tens of thousands of requests a second, one each would cost more than
    the requests.

    Args:
        seconds: Their time.

    Attributes:
        lost_at: When it was over for one of them last, in loop time.
    """

    def __init__(self, seconds: float) -> None:
        self.lost_at = -inf
        self._seconds = seconds
        self._waiting: deque[tuple[float, asyncio.Future[Any] | Answer]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any] | Answer, loop: asyncio.AbstractEventLoop) -> None:
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
        late = []
        while self._waiting:
            due, future = self._waiting[0]
            if not future.done():
                if due > now:
                    self._timer = loop.call_at(due, self._ring, loop)
                    break
                late.append(future)
            self._waiting.popleft()
        if late:
            self.lost_at = now
        # Last of all: who waits for an answer goes on at once, and may ask for the next.
        for future in late:
            future.set_exception(BrokerUnavailable("no answer in time"))


async def _abort(connection: AbstractConnection, writer: asyncio.StreamWriter | None) -> None:
    # redis-py only closes, which waits for the peer to take what is buffered: for ever, if the
    # peer is silent. It offers no other way to the transport, and where a write was cancelled it
    # has closed and forgotten it already.
    writer = writer or connection._writer  # noqa: SLF001
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)
