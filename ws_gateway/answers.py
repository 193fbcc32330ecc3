"""Answers that are waited for without a task.

A future calls back in the next turn of the event loop, where a task is woken, which takes another
turn to say that it is done. Where thousands of commands a second wait for one answer each, that
costs more than all the rest; here who waits goes on in the moment in which the answer comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from typing_extensions import override

logger = logging.getLogger(__name__)


class Answer:
    """One that will come, like a future; awaited once, by a :class:`Run` or by a task.

    Attributes:
        then: Called when it has come.
    """

    __slots__ = ("_done", "_error", "_value", "then")

    def __init__(self) -> None:
        self._done = False
        self._error: BaseException | None = None
        self._value: Any = None
        self.then: Callable[[], None] | None = None

    def done(self) -> bool:
        """Whether it has come, or never will."""
        return self._done

    def set_result(self, value: Any) -> None:  # noqa: ANN401 - whatever was asked for
        """Let it come."""
        self._done = True
        self._value = value
        if self.then is not None:
            self.then()

    def set_exception(self, error: BaseException) -> None:
        """Let it fail."""
        self._error = error
        self.set_result(None)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            if asyncio.current_task() is None:
                yield self
            else:
                woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self.then = partial(_wake, woken)
                yield from woken
        if self._error is not None:
            raise self._error
        return self._value


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def start(
    work: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop,
    finished: Callable[[], None],
) -> Run | None:
    """Run a coroutine up to its first wait, at once.

    What ``asyncio`` of Python 3.12 calls an eager task, without the task where none is needed: as
    long as it waits for answers only. Until its first wait for anything else the coroutine must not
    ask for the current task.

    Args:
        work: The coroutine.
        loop: The event loop.
        finished: Called at its end, if it had to wait.

    Returns:
        The rest of it, or None if it has finished.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return Run(work, waits_for, loop, finished)


class Run:
    """A coroutine that waits, and goes on when it need wait no more.

    Args:
        work: It.
        waits_for: What for.
        loop: The event loop.
        finished: Called at its end.
    """

    __slots__ = ("_answer", "_finished", "_loop", "_task", "_work")

    def __init__(
        self,
        work: Coroutine[Any, Any, None],
        waits_for: Any,  # noqa: ANN401 - an answer, or of the loop's own protocol
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[], None],
    ) -> None:
        self._work = work
        self._loop = loop
        self._finished = finished
        self._answer: Answer | None = None
        self._task: asyncio.Task[None] | None = None
        self._wait(waits_for)

    def cancel(self, msg: object = None) -> None:
        """End it where it waits, in the next turn of the loop, unless it ends before by itself.

        ``msg`` is for those who take it for a task; nobody is told.
        """
        del msg
        if self._task is not None:
            self._task.cancel()
        else:
            self._loop.call_soon(self._cancel)

    def _wait(self, waits_for: Any) -> None:  # noqa: ANN401
        if type(waits_for) is Answer:
            self._answer = waits_for
            waits_for.then = self._go_on
        else:
            self._task = self._loop.create_task(_Started(self._work, waits_for))
            self._task.add_done_callback(self._ended)

    def _go_on(self) -> None:
        if asyncio.current_task() is not None:
            # Whoever brought the answer is a task, which this must not be taken for.
            self._loop.call_soon(self._go_on)
        elif self._answer is not None and self._answer.done():
            self._answer = None
            self._step(None)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif self._answer is not None:
            self._answer.then = None
            self._answer = None
            self._step(asyncio.CancelledError())

    def _step(self, error: BaseException | None) -> None:
        try:
            waits_for = self._work.send(None) if error is None else self._work.throw(error)
        except (StopIteration, asyncio.CancelledError):
            self._finished()
        except Exception:
            # It must not be taken for a fault of whoever brought the answer.
            logger.exception("work failed")
            self._finished()
        else:
            self._wait(waits_for)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._finished()


class _Started(Coroutine[Any, Any, None]):
    """A coroutine that has been sent into once, for a task to go on with.

    No coroutine of its own around the other: one that is cancelled before its first step never
    runs, and what is inside would not hear of it.
    """

    __slots__ = ("_first", "_waits_for", "_work")

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:  # noqa: ANN401 - the loop's own protocol
        self._work = work
        self._waits_for = waits_for
        self._first = True

    @override
    def send(self, value: Any, /) -> Any:
        if self._first:
            self._first = False
            return self._waits_for
        return self._work.send(value)

    @override
    def throw(self, error: Any, value: Any = None, traceback: Any = None, /) -> Any:
        if self._first:
            # The task does not know yet what it would have cancelled.
            self._first = False
            if self._waits_for is not None:
                self._waits_for.cancel()
        return self._work.throw(error)

    @override
    def close(self) -> None:
        self._work.close()

    @override
    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("for a task only")
