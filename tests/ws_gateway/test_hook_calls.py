"""Running the operator's functions; what is asked of them is tested with the hooks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.exceptions import Disconnect, GatewayError, ReplyError
from ws_gateway.hook_calls import HookCalls


@pytest.fixture
async def calls() -> AsyncIterator[HookCalls]:
    """One thread, and room for two that wait for it."""
    made = HookCalls(timeout_seconds=30, threads=1, max_waiting=2)
    yield made
    made.close()


def same(value: object) -> object:
    """Read what is returned as it is."""
    return value


async def refusal(calls: HookCalls, error: Exception) -> GatewayError:
    """Return what becomes of an exception of the hook's."""

    async def hook() -> None:
        raise error

    with pytest.raises((ReplyError, Disconnect)) as caught:
        await calls.run("hook", same, hook)
    return caught.value


@pytest.mark.parametrize("code", [400, 1404, 1999, 100, 103, 107, 111])
async def test_error_of_its_own_or_the_protocols_is_passed_on(calls: HookCalls, code: int) -> None:
    """Section 14.1: custom errors are 400 to 1999."""
    error = await refusal(calls, ReplyError(code, "no"))

    assert isinstance(error, ReplyError)
    assert (error.code, error.message) == (code, "no")


@pytest.mark.parametrize("code", [0, 1, 99, 114, 399, 2000, 3500, -1])
async def test_other_error_code_is_100(
    calls: HookCalls, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It would mean something else to an SDK."""
    error = await refusal(calls, ReplyError(code, "no"))

    assert isinstance(error, ReplyError)
    assert error.code == ErrorCode.INTERNAL
    assert len(caplog.records) == 1


@pytest.mark.parametrize("code", [4000, 4500, 4999])
async def test_disconnect_of_its_own_is_passed_on(calls: HookCalls, code: int) -> None:
    """Section 14.3: 4000 to 4499 reconnect, 4500 to 4999 do not."""
    error = await refusal(calls, Disconnect(code, reason="go away"))

    assert isinstance(error, Disconnect)
    assert (error.code, error.reason) == (code, "go away")


@pytest.mark.parametrize(
    "end",
    [
        Disconnect(3999, reason="no"),
        Disconnect(5000, reason="no"),
        Disconnect(1000, reason="no"),
        Disconnect(DisconnectCode.INVALID_TOKEN),
        Disconnect(4000),
        Disconnect(4000, reason="x" * 124),
        Disconnect(4000, reason="é" * 62),
        Disconnect(4000, reason="a\nb"),
        Disconnect(4000, reason="true"),
        Disconnect(4000, reason="7"),
        Disconnect(4000, reason='{"reconnect":false}'),
    ],
)
async def test_other_disconnect_is_100(
    calls: HookCalls, end: Disconnect, caplog: pytest.LogCaptureFixture
) -> None:
    """An SDK would misread it (section 15), or a peer refuse the frame."""
    error = await refusal(calls, end)

    assert isinstance(error, ReplyError)
    assert error.code == ErrorCode.INTERNAL
    assert len(caplog.records) == 1


async def test_what_cannot_be_read_is_100(
    calls: HookCalls, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader's exception is the hook's."""

    def read(_: object) -> None:
        raise TypeError("not that")

    with pytest.raises(ReplyError) as caught:
        await calls.run("hook", read, lambda: 1)

    assert caught.value.code == ErrorCode.INTERNAL
    assert caplog.records[0].__dict__["hook"] == "hook"


async def test_threads_that_never_return_cost_no_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What waits for a thread is bounded; the calls fail, and the loop goes on."""
    calls = HookCalls(timeout_seconds=0.02, threads=1, max_waiting=2)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    go_on, ran = threading.Event(), list[int]()

    def stuck() -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)

    def quick(number: int) -> None:
        ran.append(number)

    first = asyncio.ensure_future(calls.run("hook", same, stuck))
    await begun.wait()
    results = await asyncio.gather(
        first,
        *(calls.run("hook", same, quick, number) for number in range(5)),
        return_exceptions=True,
    )

    assert [getattr(result, "code", None) for result in results] == [ErrorCode.INTERNAL] * 6
    assert "too many calls wait for a thread" in caplog.text
    assert calls._executor is not None
    assert calls._executor._work_queue.qsize() <= 2
    go_on.set()
    # The thread passes over what nobody wants any more, and is there for what comes.
    await loop.run_in_executor(calls._executor, lambda: None)
    calls.timeout_seconds = 30
    await calls.run("hook", same, quick, 7)
    assert ran == [7]
    calls.close()


async def test_it_can_be_used_again_after_it_was_closed(calls: HookCalls) -> None:
    """The operator's module is imported once, and outlives a gateway."""
    assert await calls.run("hook", same, lambda: 1) == 1
    calls.close()

    assert await calls.run("hook", same, lambda: 2) == 2
