"""The revocation log as a Redis stream, from which gateways read it.

The database is the source: a stream that was emptied, lost its tail or is of another database is
written again. Every process of the service publishes, and none needs to know of another: an entry's
number is its id in the stream, and Redis takes no id twice.

The stream begins with ``0-1 kind=log value=LOG``, an id that only an empty stream takes; then each
entry has the id ``SEQ-0``. It needs a Redis user that may do no more than::

    ~drawbridge:1:revocations +xadd +xdel +xrange +xrevrange +del +multi +exec +hello +select
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from auth_service.exceptions import StoreUnavailable
from auth_service.metrics import Metrics
from auth_service.revocation_log import LOOK_SECONDS, RevocationLog
from auth_service.store.revocations import MARGIN_SECONDS, Revocation

STREAM = "drawbridge:1:revocations"
FIRST = "0-1"
TIDY_SECONDS = 60.0
# Gateways count on hearing of a revocation within a second of when Redis is back.
_RETRY_SECONDS = 0.3
_PAGE = 500

_log = logging.getLogger(__name__)


class RevocationPublisher:
    """Keeps the stream in step with the log.

    Args:
        log: What is published.
        redis: A client of its own, see `redis_address.connect`.
        metrics: Where lag and failures are counted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        log: RevocationLog,
        redis: Redis,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        # The library's annotations are those of all its answers at once.
        self._redis: Any = redis
        self._metrics = metrics
        self._clock = clock
        self._failing = False
        self._observed = 0.0
        self._tidied = time.monotonic()

    async def run(self) -> None:
        """Publish until cancelled, whatever happens to Redis or to the database."""
        task = asyncio.current_task()
        try:
            while True:
                done = await self._step()
                if task is not None and task.cancelling():
                    # wait_for, which redis-py sends with, may lose it before Python 3.12.
                    raise asyncio.CancelledError
                await self._log.pause(LOOK_SECONDS if done else _RETRY_SECONDS)
        finally:
            await self._disconnect()

    async def once(self) -> bool:
        """Bring the stream up to date for somebody who does not stay; says whether that was done.

        The connection is closed: `run` is for those who stay.
        """
        try:
            return await self._step()
        finally:
            await self._disconnect()

    async def publish(self) -> None:
        """Bring the stream up to date once.

        Raises:
            RedisError: Redis does not take it.
            StoreUnavailable: The database does not answer.
        """
        begun = self._log.appended_at
        # Before the database is asked: what another process publishes later than this is in the
        # database by then, so a stream above the log's top has really outlived a database.
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrange(STREAM, count=1)
        pipeline.xrevrange(STREAM, count=1)
        first, last = await pipeline.execute()
        log, top = await self._log.position()
        published = _number(last)
        if not _begins(first, log) or published > top:
            await self._rewrite(log)
        elif published < top:
            await self._append(log, published)
        self._metrics.revocations_published.set(self._clock())
        if begun != self._observed:
            self._observed = begun
            self._metrics.revocation_lag.observe(time.monotonic() - begun)
        if time.monotonic() - self._tidied >= TIDY_SECONDS:
            self._tidied = time.monotonic()
            await self.tidy()

    async def tidy(self) -> None:
        """Take entries out that have expired; the oldest ones, up to the first page without any.

        The newest one stays: its number tells gateways that they have lost nothing, and this
        service whether the log is an older one, from a backup.

        Raises:
            RedisError: Redis does not answer.
        """
        newest = await self._redis.xrevrange(STREAM, count=1)
        if not newest:
            return
        gone = self._clock() - MARGIN_SECONDS
        start, end = f"({FIRST}", f"({newest[0][0].decode()}"
        while True:
            page = await self._redis.xrange(STREAM, min=start, max=end, count=_PAGE)
            expired = [entry for entry, fields in page if _until(fields) <= gone]
            if not expired:
                return
            await self._redis.xdel(STREAM, *expired)
            start = f"({page[-1][0].decode()}"

    async def _step(self) -> bool:
        try:
            await self.publish()
        except (RedisError, OSError, TimeoutError, StoreUnavailable) as error:
            self._metrics.revocation_failures.inc()
            if not self._failing:
                # The kind only: an error's text may hold the address, and with it a password.
                _log.warning("revocations_not_published", extra={"cause": type(error).__name__})
            self._failing = True
            return False
        except Exception:  # noqa: BLE001 (a task that died would be noticed by nobody)
            # Whatever it is, what is revoked later must reach the gateways.
            self._metrics.revocation_failures.inc()
            if not self._failing:
                _log.exception("revocations_not_published")
            self._failing = True
            return False
        if self._failing:
            _log.info("revocations_published_again")
        self._failing = False
        return True

    async def _disconnect(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _rewrite(self, log: str) -> None:
        """Write the whole stream anew, in one step: no reader sees a part of it."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.delete(STREAM)
        pipeline.xadd(STREAM, {"kind": "log", "value": log}, id=FIRST)
        seq = 0
        while page := await self._log.after(seq):
            for number, revocation in page:
                pipeline.xadd(STREAM, _fields(revocation), id=f"{number}-0")
            seq = page[-1][0]
        await pipeline.execute()
        _log.info("revocations_rewritten", extra={"top": seq})

    async def _append(self, log: str, seq: int) -> None:
        while page := await self._log.after(seq):
            pipeline = self._redis.pipeline(transaction=False)
            for number, revocation in page:
                pipeline.xadd(STREAM, _fields(revocation), id=f"{number}-0")
            seq = page[-1][0]
            results = await pipeline.execute(raise_on_error=False)
            refused = [result for result in results if isinstance(result, Exception)]
            for error in refused:
                if not _is_taken(error):
                    raise error
            # Most likely another process was faster. But Redis refuses a number also because of a
            # higher one that is there no more, as after the return to a backup.
            if refused and not await self._holds([number for number, _ in page]):
                await self._rewrite(log)
                return

    async def _holds(self, numbers: list[int]) -> bool:
        """Say whether all of these entries, which are in order, are in the stream."""
        entries = await self._redis.xrange(STREAM, min=f"{numbers[0]}-0", max=f"{numbers[-1]}-0")
        return {entry for entry, _ in entries} >= {f"{number}-0".encode() for number in numbers}


def _fields(revocation: Revocation) -> dict[Any, Any]:
    return {
        "kind": revocation.kind,
        "value": revocation.value,
        "sub": revocation.sub,
        "before": str(revocation.before),
        "until": str(revocation.until),
        "reason": revocation.reason,
    }


def _begins(first: list[tuple[bytes, dict[bytes, bytes]]], log: str) -> bool:
    if not first:
        return False
    entry, fields = first[0]
    return (
        entry == FIRST.encode()
        and fields.get(b"kind") == b"log"
        and fields.get(b"value") == log.encode()
    )


def _number(last: list[tuple[bytes, dict[bytes, bytes]]]) -> int:
    return int(last[0][0].partition(b"-")[0]) if last else 0


def _until(fields: dict[bytes, bytes]) -> int:
    until = fields.get(b"until", b"")
    return int(until) if until.isdigit() else 0


def _is_taken(error: Exception) -> bool:
    return isinstance(error, ResponseError) and "equal or smaller" in str(error)
