"""Requests to Redis over one link: pipelined, each reply matched to its caller."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import RedisError, ResponseError

from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_link import Endpoint, Link, Patience, Timing

_PING = hiredis.pack_command(("PING",))
_MAX_UNANSWERED_BYTES = 64 * 2**20


class Commands:
    """Sends the requests of one tick in one write; Redis executes them in the order of calls.

    Args:
        endpoint: Where Redis is.
        timing: How patient it is.
        jitter: See Link.

    Attributes:
        link: Its connection; somebody has to run it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.link = Link(endpoint, self, name="commands", timing=timing, jitter=jitter)
        self._patience = Patience(timing.reply)
        # Replies come in the order of requests; an entry stays until its reply has come, whether
        # somebody still waits for it or not.
        self._unanswered: deque[tuple[asyncio.Future[Any] | None, int]] = deque()
        self._unanswered_bytes = 0

    def request(self, *parts: bytes) -> asyncio.Future[Any]:
        """Send a command; the future is its reply.

        A request that was sent may have been executed although no reply came. It is never sent
        twice.

        Raises:
            BrokerUnavailable: At once without a connection or with too much unanswered; from the
                future if no reply comes in time, or an error.
        """
        if not self.link.connected:
            raise BrokerUnavailable("no connection to Redis")
        if self._unanswered_bytes > _MAX_UNANSWERED_BYTES:
            raise BrokerUnavailable("Redis does not keep up")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._send(future, hiredis.pack_command(parts))  # type: ignore[arg-type]  # its stub says one-tuples
        self._patience.watch(future, loop)
        return future

    def close(self) -> None:
        """End; the link has been stopped."""
        self._patience.close()

    # What the link says

    def connected(self) -> None:
        """See Speaker."""

    def received(self, reply: Any) -> None:  # noqa: ANN401 - see Speaker
        """See Speaker."""
        if not self._unanswered:
            raise RedisError("a reply that nobody asked for")
        future, size = self._unanswered.popleft()
        self._unanswered_bytes -= size
        if future is None or future.done():
            return
        if isinstance(reply, ResponseError):
            future.set_exception(BrokerUnavailable(f"Redis refused: {reply}"))
        else:
            future.set_result(reply)

    def probe(self) -> None:
        """See Speaker."""
        self._send(None, _PING)

    def lost(self, heard_at: float) -> None:  # noqa: ARG002 - see Speaker
        """See Speaker."""
        for future, _ in self._unanswered:
            if future is not None and not future.done():
                future.set_exception(BrokerUnavailable("the connection was lost before the reply"))
        self._unanswered.clear()
        self._unanswered_bytes = 0

    def _send(self, future: asyncio.Future[Any] | None, command: bytes) -> None:
        self._unanswered.append((future, len(command)))
        self._unanswered_bytes += len(command)
        self.link.write(command)
