"""Requests to Redis over one link: pipelined, each reply matched to its caller."""

from __future__ import annotations

import asyncio
import hashlib
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Protocol

import hiredis
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
from typing_extensions import override

from ws_gateway.answers import Answer
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.metrics import Buckets
from ws_gateway.redis_endpoint import Endpoint
from ws_gateway.redis_link import Link, Patience, Timing

_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
_Request = tuple[asyncio.Future[Any] | Answer | None, int, Buckets | None, float]
"""Who waits, how many bytes it was, where its time is counted, and when it was sent."""

_PING = hiredis.pack_command(("PING",))
_MAX_UNANSWERED_BYTES = 64 * 2**20


class Script:
    """A Lua script, which Redis executes in one step.

    Args:
        source: Its text.
        name: What the time it takes is counted under.
    """

    def __init__(self, source: str, name: str = "script") -> None:
        self.name = name.encode()
        self.source = source.encode()
        self.digest = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


class Linked(Protocol):
    """What is known of the connection, or of all there are."""

    @property
    def connected(self) -> bool:
        """Whether there is one now."""

    @property
    def reconnects(self) -> int:
        """How often one was made after the first."""

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""


class ScriptUnknown(BrokerUnavailable):
    """The server does not know the script; nothing was executed."""


class Requests(ABC):
    """What is asked of Redis, whether that is one server or several.

    Attributes:
        durations: From a request to its reply in seconds, by the command or the script's name.
        one_order: Whether all requests are executed in the order of calls; else those are whose
            keys are in one slot.
    """

    durations: dict[str, Buckets]
    one_order = True
    link: Linked

    @abstractmethod
    def share(self, scripts: tuple[Script, ...], connected: Callable[[], None]) -> None:
        """Let another part of the process use this connection, in one order with the others.

        Args:
            scripts: Those that it will call.
            connected: Called when a connection is there, the first or another, and what was asked
                over an earlier one may be lost; synchronous and quick, must not raise.
        """

    @abstractmethod
    def ask(self, *parts: bytes, name: bytes = b"") -> Awaitable[Any]:
        """Send a command; the reply is awaited, or given up.

        A request that was sent may have been executed although no reply came. It is never sent
        twice.

        Args:
            parts: The command and its arguments.
            name: What its time is counted under; the command unless given.

        Raises:
            BrokerUnavailable: At once without a connection, with too much unanswered, or where
                nothing was heard since a reply was late; from the answer if no reply comes in
                time, or an error.
        """

    @abstractmethod
    def request(self, *parts: bytes, name: bytes = b"") -> asyncio.Future[Any]:
        """Send a command; the future is its reply, for who does not await it at once.

        Raises:
            BrokerUnavailable: See :meth:`ask`.
        """

    @abstractmethod
    def close(self) -> None:
        """End; the link has been stopped."""

    async def call(self, script: Script, keys: tuple[bytes, ...], *arguments: bytes) -> Any:  # noqa: ANN401 - whatever it returns
        """Call a script; returns its reply.

        Raises:
            BrokerUnavailable: See :meth:`ask`.
        """
        count = b"%d" % len(keys)
        try:
            return await self.ask(
                b"EVALSHA", script.digest, count, *keys, *arguments, name=script.name
            )
        except ScriptUnknown:
            # Somebody has flushed the scripts. This one was not executed, so it may go again.
            return await self.ask(
                b"EVAL", script.source, count, *keys, *arguments, name=script.name
            )


class Commands(Requests):
    """Sends the requests of one tick in one write; Redis executes them in the order of calls.

    Args:
        endpoint: Where Redis is.
        timing: How patient it is.
        jitter: See Link.
        scripts: Those that will be called; every server is told them first.
        durations: Where times are counted; its own unless given.

    Attributes:
        link: Its connection; somebody has to run it.
    """

    link: Link

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
        scripts: tuple[Script, ...] = (),
        durations: dict[str, Buckets] | None = None,
    ) -> None:
        self._scripts = scripts
        self._on_connected: list[Callable[[], None]] = []
        self.link = Link(endpoint, self, name="commands", timing=timing, jitter=jitter)
        self._patience = Patience(timing.reply)
        # Replies come in the order of requests; an entry stays until its reply has come, whether
        # somebody still waits for it or not.
        self._unanswered: deque[_Request] = deque()
        self._unanswered_bytes = 0
        self.durations = {} if durations is None else durations
        self._by_word: dict[bytes, Buckets] = {}

    @override
    def share(self, scripts: tuple[Script, ...], connected: Callable[[], None]) -> None:
        self._scripts += scripts
        self._on_connected.append(connected)

    @override
    def ask(self, *parts: bytes, name: bytes = b"") -> Answer:
        answer = Answer()
        self._ask(answer, parts, name or parts[0])
        return answer

    @override
    def request(self, *parts: bytes, name: bytes = b"") -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._ask(future, parts, name or parts[0])
        return future

    def _ask(
        self, waiting: asyncio.Future[Any] | Answer, parts: tuple[bytes, ...], name: bytes
    ) -> None:
        if not self.link.connected:
            raise BrokerUnavailable("no connection to Redis")
        if self._patience.lost_at > self.link.heard_at:
            # Who asks one thing after the other would wait as long for each. What was given up is
            # still to be answered, so that the end of the silence is heard.
            raise BrokerUnavailable("Redis does not answer")
        if self._unanswered_bytes > _MAX_UNANSWERED_BYTES:
            raise BrokerUnavailable("Redis does not keep up")
        timed = self._by_word.get(name) or self._timed(name)
        self._send(waiting, hiredis.pack_command(parts), timed)  # type: ignore[arg-type]  # its stub says one-tuples
        self._patience.watch(waiting, asyncio.get_running_loop())

    @override
    def close(self) -> None:
        self._patience.close()

    # What the link says

    def connected(self) -> None:
        """See Speaker."""
        for script in self._scripts:
            self._send(None, hiredis.pack_command((b"SCRIPT", b"LOAD", script.source)))  # type: ignore[arg-type]
        for tell in self._on_connected:
            tell()

    def received(self, reply: Any) -> None:  # noqa: ANN401 - see Speaker
        """See Speaker."""
        if not self._unanswered:
            raise RedisError("a reply that nobody asked for")
        future, size, timed, sent_at = self._unanswered.popleft()
        self._unanswered_bytes -= size
        if timed is not None:
            timed.observe(perf_counter() - sent_at)
        if isinstance(reply, ReadOnlyError):
            # It was the master; who that is now, the next connection will find out.
            if future is not None and not future.done():
                future.set_exception(BrokerUnavailable("not the master any more"))
            raise reply
        if future is None or future.done():
            return
        if isinstance(reply, NoScriptError):
            future.set_exception(ScriptUnknown("unknown script"))
        elif isinstance(reply, ResponseError):
            refusal = BrokerUnavailable(f"Redis refused: {reply}")
            refusal.__cause__ = reply  # for who can do better than to pass it on
            future.set_exception(refusal)
        else:
            future.set_result(reply)

    def probe(self) -> None:
        """See Speaker."""
        self._send(None, _PING)

    def lost(self, heard_at: float) -> None:  # noqa: ARG002 - see Speaker
        """See Speaker."""
        unanswered, self._unanswered = self._unanswered, deque()
        self._unanswered_bytes = 0
        for future, _, _, _ in unanswered:
            if future is not None and not future.done():
                future.set_exception(BrokerUnavailable("the connection was lost before the reply"))

    def _timed(self, word: bytes) -> Buckets:
        # The words are those of this package's code, so there are few.
        buckets = self.durations.setdefault(word.decode().lower(), Buckets(_BOUNDS))
        self._by_word[word] = buckets
        return buckets

    def _send(
        self,
        waiting: asyncio.Future[Any] | Answer | None,
        command: bytes,
        timed: Buckets | None = None,
    ) -> None:
        self._unanswered.append((waiting, len(command), timed, perf_counter()))
        self._unanswered_bytes += len(command)
        self.link.write(command)
