"""Running the operator's functions: for a limited time, and without stalling anybody else.

Coroutines run on the event loop, plain functions in a few threads. A plain function whose time is
over cannot be stopped, but nobody waits for it any more; and what waits for a thread is bounded,
so that functions which never return cost their commands and no memory.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import Disconnect, ReplyError

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_OWN_ERRORS = range(400, 2000)
_PROTOCOL_ERRORS = frozenset(map(int, ErrorCode))
_OWN_DISCONNECTS = range(4000, 5000)
_MAX_REASON_BYTES = 123  # RFC 6455 section 5.5


class HookCalls:
    """Calls functions, one for each call.

    Args:
        timeout_seconds: How long one call may take.
        threads: How many plain functions run at once.
        max_waiting: How many more may wait for a thread.
    """

    def __init__(self, *, timeout_seconds: float, threads: int, max_waiting: int = 1024) -> None:
        self.timeout_seconds = timeout_seconds
        self._threads = threads
        self._room = threading.BoundedSemaphore(max_waiting)
        self._executor: ThreadPoolExecutor | None = None

    async def run(
        self, name: str, read: Callable[[Any], _Answer], function: Callable[..., Any], *args: object
    ) -> _Answer:
        """Call a function, and read what it returns.

        Args:
            name: What to call it in the log.
            read: Turns what it returns into what is wanted.
            function: A coroutine function, or a plain one.
            args: Its arguments.

        Raises:
            ReplyError: Its own refusal, or 100 if it raises anything else, takes too long, or
                returns what cannot be read.
            Disconnect: It wants the connection to end.
        """
        # A task of its own, because hooks may use what needs one (timeouts, task groups).
        task = asyncio.ensure_future(self._run(read, function, args))
        task.add_done_callback(_retrieve)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # the caller has gone: nobody waits for the answer
        try:
            return task.result()
        except (ReplyError, Disconnect) as refusal:
            if _may_say(refusal):
                raise
            error: BaseException = refusal
        # A hook may be cancelled from within; only above it would have been the caller.
        except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - the operator's code
            error = failure
        incident = uuid.uuid4().hex
        logger.error("hook failed", exc_info=error, extra={"hook": name, "id": incident})
        raise ReplyError(ErrorCode.INTERNAL) from error

    async def _run(
        self, read: Callable[[Any], _Answer], function: Callable[..., Any], args: tuple[object, ...]
    ) -> _Answer:
        async with asyncio.timeout(self.timeout_seconds):
            if inspect.iscoroutinefunction(function):
                result = await function(*args)
            else:
                result = await self._in_thread(functools.partial(function, *args))
                if isinstance(result, Awaitable):
                    result = await result
            return read(result)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - the operator's
        if not self._room.acquire(blocking=False):
            raise RuntimeError("too many calls wait for a thread")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="hooks")
        call = _ThreadCall(work, self._room)
        # Shielded: a cancelled item would stay in the executor's queue, out of our count.
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(future)
        finally:
            call.wanted = False

    def close(self) -> None:
        """Start no more of what waits for a thread."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


class _ThreadCall:
    """One item of the executor's queue."""

    def __init__(self, work: Callable[[], Any], room: threading.BoundedSemaphore) -> None:
        self._work = work
        self._room = room
        self.wanted = True

    def __call__(self) -> Any:  # noqa: ANN401 - the operator's
        self._room.release()
        if not self.wanted:
            return None
        try:
            return self._work()
        except StopIteration as error:
            # No future takes this one: the call would seem to run for ever.
            raise RuntimeError("the hook raised StopIteration") from error


def _retrieve(task: asyncio.Task[Any]) -> None:
    # What a hook raises when nobody waits any more is not reported as forgotten.
    if not task.cancelled():
        task.exception()


def _may_say(refusal: ReplyError | Disconnect) -> bool:
    """Whether a hook may send this code: one of its own, or an error of the protocol."""
    if isinstance(refusal, ReplyError):
        return refusal.code in _OWN_ERRORS or refusal.code in _PROTOCOL_ERRORS
    return refusal.code in _OWN_DISCONNECTS and _is_reason(refusal.reason)


def _is_reason(reason: str) -> bool:
    # SDKs read a reason that is JSON as something else, and an empty one as none.
    if not reason or not reason.isprintable() or len(reason.encode()) > _MAX_REASON_BYTES:
        return False
    try:
        json.loads(reason)
    except (ValueError, RecursionError):
        return True
    return False
