"""A coroutine goes on in the moment in which its answer comes, and needs a task for all else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.ws_gateway.conftest import settle
from ws_gateway.answers import Answer, Run, start


class Ended:
    """Says whether a run has come to its end."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Note the end."""
        self.count += 1


@pytest.fixture
def ended() -> Ended:
    """What the runs of one test say at their ends."""
    return Ended()


@pytest.fixture
def run(ended: Ended) -> Callable[[Coroutine[Any, Any, None]], Run | None]:
    """Start a coroutine on the running loop."""

    def begin(work: Coroutine[Any, Any, None]) -> Run | None:
        return start(work, asyncio.get_running_loop(), ended)

    return begin


Begin = Callable[[Coroutine[Any, Any, None]], Run | None]


async def off_task(act: Callable[[], object]) -> None:
    """Do something where no task runs, as the event loop calls whoever reads from a socket."""
    asyncio.get_running_loop().call_soon(act)
    await asyncio.sleep(0)


class TestStart:
    """A coroutine is stepped by hand, and becomes a task only if it has to wait."""

    async def test_work_that_never_waits_needs_nothing(self, run: Begin, ended: Ended) -> None:
        """It is done when ``start`` returns, and nobody is called."""
        done: list[int] = []

        async def work() -> None:
            done.append(1)

        assert run(work()) is None
        assert done == [1]
        assert ended.count == 0

    async def test_exception_before_the_first_wait_is_raised(self, run: Begin) -> None:
        """At once, to the caller."""

        async def work() -> None:
            raise ValueError("now")

        with pytest.raises(ValueError, match="now"):
            run(work())

    async def test_rest_is_a_task(self, run: Begin, ended: Ended) -> None:
        """What was before the first wait has happened; values come in as they should."""
        events: list[object] = []
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            events.append("begun")
            events.append(await future)
            await asyncio.sleep(0)
            events.append(await asyncio.wait_for(asyncio.sleep(0, "slept"), 10))

        assert run(work()) is not None
        assert events == ["begun"]
        future.set_result("result")

        await settle()

        assert events == ["begun", "result", "slept"]
        assert ended.count == 1

    async def test_bare_yield_is_a_wait(self, run: Begin) -> None:
        """``sleep(0)``."""
        events: list[int] = []

        async def work() -> None:
            for number in range(3):
                events.append(number)
                await asyncio.sleep(0)

        assert run(work()) is not None
        assert events == [0]

        await settle()

        assert events == [0, 1, 2]

    @pytest.mark.parametrize("turns", [0, 1, 3])
    async def test_cancellation_reaches_the_work(
        self, run: Begin, ended: Ended, turns: int
    ) -> None:
        """Also before the task has made its first step: as ``CancelledError``, where it waits."""
        events: list[str] = []
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                await future
            except asyncio.CancelledError:
                events.append("cancelled")
                raise
            finally:
                events.append("ended")

        running = run(work())
        assert running is not None
        for _ in range(turns):
            await asyncio.sleep(0)

        running.cancel()
        await settle()

        assert events == ["cancelled", "ended"]
        assert future.cancelled()
        assert ended.count == 1

    @pytest.mark.parametrize("turns", [0, 1])
    async def test_work_may_wait_while_it_is_cancelled(
        self, run: Begin, ended: Ended, turns: int
    ) -> None:
        """To clean up; then it may even go on."""
        events: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                events.append("cleaned up")

        running = run(work())
        assert running is not None
        for _ in range(turns):
            await asyncio.sleep(0)

        running.cancel()
        await settle()

        assert events == ["cleaned up"]
        assert ended.count == 1

    async def test_cancellation_of_one_whose_future_is_done(self, run: Begin, ended: Ended) -> None:
        """It was done in the same turn: the work is cancelled all the same."""
        events: list[str] = []
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                await future
                events.append("went on")
            finally:
                events.append("ended")

        running = run(work())
        assert running is not None
        future.set_result(None)

        running.cancel()
        await settle()

        assert events == ["ended"]
        assert ended.count == 1


class TestAnswer:
    """Who waits for one needs no task, and no turn of the loop."""

    @staticmethod
    async def begin(run: Begin, work: Coroutine[Any, Any, None]) -> Run:
        """Start it where no task runs."""
        begun: list[Run | None] = []
        await off_task(lambda: begun.append(run(work)))
        (running,) = begun
        assert running is not None
        return running

    async def test_work_goes_on_at_once(self, run: Begin, ended: Ended) -> None:
        """From answer to answer, before whoever brings it goes on."""
        answers = Answer(), Answer()
        events: list[object] = []

        async def work() -> None:
            events.extend([await answer for answer in answers])

        await self.begin(run, work())

        def bring() -> None:
            answers[0].set_result("first")
            answers[1].set_result("second")
            events.append("brought")

        await off_task(bring)

        assert events == ["first", "second", "brought"]
        assert ended.count == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_one_that_has_come_is_not_waited_for(self, run: Begin) -> None:
        """It is there."""
        answer = Answer()
        answer.set_result(7)
        got: list[int] = []

        async def work() -> None:
            got.append(await answer)

        assert run(work()) is None
        assert got == [7]

    async def test_failure_is_raised_where_it_is_waited_for(self, run: Begin, ended: Ended) -> None:
        """As a future's."""
        answer = Answer()
        caught: list[str] = []

        async def work() -> None:
            try:
                await answer
            except ValueError as error:
                caught.append(str(error))

        await self.begin(run, work())
        await off_task(lambda: answer.set_exception(ValueError("no")))

        assert caught == ["no"]
        assert answer.done()
        assert ended.count == 1

    async def test_fault_of_the_work_is_not_the_bringers(
        self, run: Begin, ended: Ended, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Who brings the answer has others to bring."""
        answer = Answer()

        async def work() -> None:
            await answer
            raise KeyError("a bug")

        await self.begin(run, work())
        with caplog.at_level(logging.ERROR):
            await off_task(lambda: answer.set_result(None))

        assert [record.getMessage() for record in caplog.records] == ["work failed"]
        assert ended.count == 1

    async def test_a_task_can_wait_for_it_too(self) -> None:
        """As for a future."""
        answers = Answer(), Answer()
        loop = asyncio.get_running_loop()
        loop.call_soon(answers[0].set_result, 1)
        loop.call_soon(answers[1].set_exception, ValueError("no"))

        assert await answers[0] == 1
        with pytest.raises(ValueError, match="no"):
            await answers[1]

    async def test_task_that_was_cancelled_meanwhile_is_passed_over(self) -> None:
        """The answer comes to nobody."""
        answer = Answer()

        async def wait() -> None:
            await answer

        task = asyncio.create_task(wait())
        await settle()
        task.cancel()
        await settle()

        answer.set_result(None)

        assert task.cancelled()

    async def test_work_is_not_taken_for_the_task_that_brings_it(self, run: Begin) -> None:
        """A timeout in it would be that task's: it goes on in the next turn."""
        answer = Answer()
        seen: list[object] = []

        async def work() -> None:
            await answer
            seen.append(asyncio.current_task())

        await self.begin(run, work())
        answer.set_result(None)
        assert seen == []

        await settle()

        assert seen == [None]

    async def test_work_may_wait_for_something_else_next(self, run: Begin, ended: Ended) -> None:
        """From there on it is a task."""
        answer = Answer()
        events: list[str] = []

        async def work() -> None:
            await answer
            await asyncio.sleep(0)
            events.append("slept")
            await asyncio.wait_for(asyncio.sleep(0), 10)
            events.append("slept again")

        await self.begin(run, work())
        await off_task(lambda: answer.set_result(None))
        await settle()

        assert events == ["slept", "slept again"]
        assert ended.count == 1

    async def test_cancellation_reaches_work_that_waits(self, run: Begin, ended: Ended) -> None:
        """In the next turn; an answer that comes later comes to nobody."""
        answer = Answer()
        events: list[str] = []

        async def work() -> None:
            try:
                await answer
                events.append("went on")
            finally:
                events.append("ended")

        running = await self.begin(run, work())
        running.cancel()
        assert events == []
        await settle()
        answer.set_result(None)
        await settle()

        assert events == ["ended"]
        assert ended.count == 1

    async def test_work_that_cancels_itself_ends_where_it_waits_next(
        self, run: Begin, ended: Ended
    ) -> None:
        """As a task does; if it does not wait any more, it has ended by itself."""
        answers = Answer(), Answer()
        events: list[str] = []
        running: list[Run] = []

        async def work() -> None:
            await answers[0]
            running[0].cancel()
            events.append("goes on")
            await answers[1]
            events.append("never")

        running.append(await self.begin(run, work()))
        await off_task(lambda: answers[0].set_result(None))
        await settle()

        assert events == ["goes on"]
        assert ended.count == 1
