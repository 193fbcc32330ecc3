"""The operator's methods: what they are given, what becomes of what they return or raise."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ConfigurationError, ReplyError
from ws_gateway.hooks import (
    Caller,
    ConnectAnswer,
    Connected,
    Hooks,
    PublishAnswer,
    SubscribeAnswer,
    Subscribed,
    load_hooks,
)

ALICE = Caller(user="alice", client="c-1", scopes=frozenset({"connect"}), info={"name": "Alice"})


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    """An empty table; whatever goes wrong in the background fails the test."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
    table = Hooks(timeout_seconds=30, threads=2)
    yield table
    table.close()
    gc.collect(1)
    await asyncio.sleep(0)
    assert faults == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def call(hooks: Hooks, data: object = None, method: str = "method") -> Any:  # noqa: ANN401
    """Call a method, and read its answer."""
    return json.loads(await hooks.call(ALICE, method, json.dumps(data).encode()))


async def refusal(hooks: Hooks, method: str = "method") -> ReplyError:
    """Call a method that fails."""
    with pytest.raises(ReplyError) as caught:
        await hooks.call(ALICE, method, b"")
    return caught.value


class TestCall:
    """Caller and decoded data in, JSON out."""

    async def test_coroutine_runs_on_the_loop(self, hooks: Hooks) -> None:
        """It may await whatever the operator's libraries offer."""

        @hooks.rpc("method")
        async def method(caller: Caller, data: Any) -> Any:  # noqa: ANN401
            await asyncio.sleep(0)
            return [caller.user, data, threading.current_thread() is threading.main_thread()]

        assert await call(hooks, {"x": 1}) == ["alice", {"x": 1}, True]

    async def test_plain_function_runs_in_a_thread(self, hooks: Hooks) -> None:
        """It may block, and delays no other connection."""
        go_on = threading.Event()

        @hooks.rpc("method")
        def method(caller: Caller, data: Any) -> Any:  # noqa: ANN401
            assert go_on.wait(10)
            return [caller.client, data, threading.current_thread() is threading.main_thread()]

        waiting = asyncio.create_task(call(hooks, 7))
        await asyncio.sleep(0)
        go_on.set()

        assert await waiting == ["c-1", 7, False]

    async def test_plain_function_may_return_an_awaitable(self, hooks: Hooks) -> None:
        """A partial or a decorated coroutine function does not look like one."""

        async def later(data: Any) -> Any:  # noqa: ANN401
            await asyncio.sleep(0)
            return data

        hooks.rpc("method")(lambda _caller, data: later(data))

        assert await call(hooks, "x") == "x"

    async def test_no_data_is_none(self, hooks: Hooks) -> None:
        """``rpc`` may come with a method alone."""
        hooks.rpc("method")(lambda _caller, data: data is None)

        assert await hooks.call(ALICE, "method", b"") == b"true"
        assert await hooks.call(ALICE, "method", b"null") == b"true"

    async def test_no_result_is_null(self, hooks: Hooks) -> None:
        """A method need not return anything."""
        hooks.rpc("method")(lambda _caller, _data: None)

        assert await hooks.call(ALICE, "method", b"1") == b"null"

    async def test_hook_may_use_what_needs_a_task(self, hooks: Hooks) -> None:
        """Timeouts and task groups ask for the current task."""

        @hooks.rpc("method")
        async def method(_caller: Caller, _data: Any) -> str:  # noqa: ANN401
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0, "done"))
            return task.result()

        assert await call(hooks) == "done"

    async def test_decorator_returns_the_function(self, hooks: Hooks) -> None:
        """It can still be called and tested as what it is."""

        @hooks.rpc("method")
        def method(_caller: Caller, data: Any) -> Any:  # noqa: ANN401
            return data

        assert method(ALICE, 1) == 1

    async def test_method_may_have_several_names(self, hooks: Hooks) -> None:
        """And the last registration of a name counts."""
        hooks.rpc("a")(hooks.rpc("b")(lambda _caller, _data: 1))
        hooks.rpc("b")(lambda _caller, _data: 2)

        assert [await call(hooks, method=name) for name in "ab"] == [1, 2]


class TestFailure:
    """A command fails; the connection goes on, and nothing of the cause is told."""

    @pytest.mark.parametrize("method", ["", "other", "Method", "method "])
    async def test_unknown_method_is_104(self, hooks: Hooks, method: str) -> None:
        """Protocol section 11."""
        hooks.rpc("method")(lambda _caller, data: data)

        error = await refusal(hooks, method)

        assert error.code == ErrorCode.METHOD_NOT_FOUND

    async def test_hook_may_refuse_in_its_own_words(self, hooks: Hooks) -> None:
        """A custom code of 400-1999 (protocol section 14.1)."""

        @hooks.rpc("coroutine")
        async def coroutine(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise ReplyError(1042, "out of stock")

        @hooks.rpc("function")
        def function(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise ReplyError(1042, "out of stock")

        for method in ("coroutine", "function"):
            error = await refusal(hooks, method)
            assert (error.code, error.message) == (1042, "out of stock")

    @pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError(1), RecursionError()])
    async def test_exception_is_100_and_logged(
        self, hooks: Hooks, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        """Temporary; the client gets no word of it, the operator all."""

        @hooks.rpc("coroutine")
        async def coroutine(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise error

        @hooks.rpc("function")
        def function(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise error

        for method in ("coroutine", "function"):
            refused = await refusal(hooks, method)
            assert (refused.code, refused.message) == (100, "internal server error")
            (record,) = caplog.records
            assert record.levelno == logging.ERROR
            assert record.__dict__["hook"] == f"rpc {method}"
            assert len(record.__dict__["id"]) == 32
            assert record.exc_info is not None
            caplog.clear()

    @pytest.mark.parametrize("result", [object(), {1, object()}, "\ud800"])
    async def test_what_json_cannot_say_is_100(
        self, hooks: Hooks, caplog: pytest.LogCaptureFixture, result: object
    ) -> None:
        """It would break the reply."""
        hooks.rpc("method")(lambda _caller, _data: result)

        error = await refusal(hooks)

        assert error.code == ErrorCode.INTERNAL
        assert len(caplog.records) == 1

    async def test_plain_function_that_runs_out_of_an_iterator_is_100(self, hooks: Hooks) -> None:
        """A StopIteration cannot be put into a future: it must not wait for the timeout."""
        hooks.rpc("method")(lambda _caller, _data: next(iter(())))

        error = await asyncio.wait_for(refusal(hooks), 5)

        assert error.code == ErrorCode.INTERNAL

    async def test_call_that_takes_too_long_is_100(self, caplog: pytest.LogCaptureFixture) -> None:
        """The hook is cancelled where it can be."""
        hooks = Hooks(timeout_seconds=0.01)
        ended: list[str] = []

        @hooks.rpc("method")
        async def method(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        error = await refusal(hooks)

        assert error.code == ErrorCode.INTERNAL
        assert error.temporary
        assert ended == ["cancelled"]
        assert len(caplog.records) == 1
        hooks.close()

    async def test_thread_that_takes_too_long_is_100(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A thread cannot be stopped, but nobody waits for it."""
        hooks = Hooks(timeout_seconds=0.01)
        go_on = threading.Event()
        hooks.rpc("method")(lambda _caller, _data: go_on.wait(10))

        error = await refusal(hooks)

        assert error.code == ErrorCode.INTERNAL
        assert len(caplog.records) == 1
        go_on.set()
        hooks.close()

    async def test_hook_that_is_cancelled_from_within_is_100(
        self, hooks: Hooks, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its own task's end is not the caller's: the command is answered."""

        @hooks.rpc("method")
        async def method(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise asyncio.CancelledError

        error = await refusal(hooks)

        assert error.code == ErrorCode.INTERNAL
        assert len(caplog.records) == 1

    async def test_argument_that_nests_too_deep_is_107(self, hooks: Hooks) -> None:
        """Whoever checked it may have stood higher on the stack."""
        hooks.rpc("method")(lambda _caller, _data: None)

        with pytest.raises(ReplyError) as caught:
            await hooks.call(ALICE, "method", b"[" * 30_000 + b"]" * 30_000)

        assert caught.value.code == ErrorCode.BAD_REQUEST


class TestCancellation:
    """The caller has gone: nobody waits for the answer."""

    async def test_hook_is_cancelled_with_its_caller(self, hooks: Hooks) -> None:
        """Its clean-up runs."""
        events: list[str] = []

        @hooks.rpc("method")
        async def method(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            events.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                events.append("ended")

        calling = asyncio.create_task(hooks.call(ALICE, "method", b""))
        await _settle()

        calling.cancel()
        await _settle()

        assert calling.cancelled()
        assert events == ["begun", "ended"]

    async def test_hook_that_fails_while_it_is_cancelled_is_not_forgotten(
        self, hooks: Hooks, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its exception is nobody's: it is not reported as one that was never retrieved."""

        @hooks.rpc("method")
        async def method(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            try:
                await asyncio.Event().wait()
            finally:
                raise RuntimeError("while ending")

        calling = asyncio.create_task(hooks.call(ALICE, "method", b""))
        await _settle()

        calling.cancel()
        await _settle()

        assert calling.cancelled()
        del calling
        gc.collect(1)
        assert "never retrieved" not in caplog.text

    async def test_call_that_never_began_leaves_nothing(self, hooks: Hooks) -> None:
        """Cancelled in the same turn of the loop."""
        hooks.rpc("method")(lambda _caller, _data: None)
        calling = asyncio.create_task(hooks.call(ALICE, "method", b""))
        await asyncio.sleep(0)

        calling.cancel()
        await _settle()

        assert calling.cancelled()


class TestConnect:
    """``@hooks.connect``."""

    async def test_without_one_everybody_may(self, hooks: Hooks) -> None:
        """And nothing is added."""
        assert await hooks.on_connect(ALICE, b"") == Connected()

    async def test_it_is_given_the_caller_and_the_data(self, hooks: Hooks) -> None:
        """Never a token."""
        seen: list[object] = []

        @hooks.connect
        async def connect(caller: Caller, data: Any) -> None:  # noqa: ANN401
            seen.extend((caller, data))

        assert await hooks.on_connect(ALICE, b'{"a":1}') == Connected()
        assert seen == [ALICE, {"a": 1}]

    async def test_what_it_adds_is_json(self, hooks: Hooks) -> None:
        """Info, data and channels."""
        hooks.connect(
            lambda _caller, data: ConnectAnswer(info={"n": data}, data=[data], channels=("a", "b"))
        )

        assert await hooks.on_connect(ALICE, b"7") == Connected(
            info=b'{"n":7}', data=b"[7]", channels=("a", "b")
        )

    @pytest.mark.parametrize(
        "answer",
        [{"info": 1}, True, ConnectAnswer(channels="news"), ConnectAnswer(info=object())],  # type: ignore[arg-type]
    )
    async def test_other_answer_is_100(self, hooks: Hooks, answer: object) -> None:
        """A mistake is not taken for a yes."""
        hooks.connect(lambda _caller, _data: answer)

        with pytest.raises(ReplyError) as caught:
            await hooks.on_connect(ALICE, b"")

        assert caught.value.code == ErrorCode.INTERNAL

    async def test_data_that_is_no_json_is_107(self, hooks: Hooks) -> None:
        """A Protobuf client may send any bytes."""
        hooks.connect(lambda _caller, _data: None)

        with pytest.raises(ReplyError) as caught:
            await hooks.on_connect(ALICE, b"\xff")

        assert caught.value.code == ErrorCode.BAD_REQUEST


class TestSubscribe:
    """``@hooks.subscribe``."""

    async def test_without_one_nothing_is_added(self, hooks: Hooks) -> None:
        """The channels file decides alone."""
        assert await hooks.on_subscribe(ALICE, "news", b"") == Subscribed()

    async def test_it_may_add_and_refuse(self, hooks: Hooks) -> None:
        """By the channel."""

        @hooks.subscribe
        async def subscribe(caller: Caller, channel: str, data: Any) -> SubscribeAnswer | None:  # noqa: ANN401
            if channel == "closed":
                raise ReplyError(1001, "closed")
            return SubscribeAnswer(info=caller.user, data=data) if data else None

        assert await hooks.on_subscribe(ALICE, "news", b"") == Subscribed()
        assert await hooks.on_subscribe(ALICE, "news", b"1") == Subscribed(
            info=b'"alice"', data=b"1"
        )
        with pytest.raises(ReplyError, match="1001 closed"):
            await hooks.on_subscribe(ALICE, "closed", b"")

    async def test_other_answer_is_100(self, hooks: Hooks) -> None:
        """A mistake is not taken for a yes."""
        hooks.subscribe(lambda _caller, _channel, _data: False)

        with pytest.raises(ReplyError) as caught:
            await hooks.on_subscribe(ALICE, "news", b"")

        assert caught.value.code == ErrorCode.INTERNAL


class TestPublish:
    """``@hooks.publish``."""

    async def test_without_one_data_stays_as_it_is(self, hooks: Hooks) -> None:
        """Byte for byte, and unread."""
        assert not hooks.checks_publications
        assert await hooks.on_publish(ALICE, "news", b"{ }") == b"{ }"

    async def test_none_leaves_data_as_it_is(self, hooks: Hooks) -> None:
        """Byte for byte: it is not written anew."""
        hooks.publish(lambda _caller, _channel, _data: None)

        assert hooks.checks_publications
        assert await hooks.on_publish(ALICE, "news", b'{ "a" : 1.0 }') == b'{ "a" : 1.0 }'

    @pytest.mark.parametrize(
        ("answer", "text"), [({"b": 2}, b'{"b":2}'), (None, b"null"), ("", b'""')]
    )
    async def test_answer_takes_its_place(self, hooks: Hooks, answer: object, text: bytes) -> None:
        """Also null, which is not none."""
        hooks.publish(lambda _caller, _channel, _data: PublishAnswer(answer))

        assert await hooks.on_publish(ALICE, "news", b"1") == text

    async def test_bytes_are_given_as_bytes(self, hooks: Hooks) -> None:
        """A Protobuf client may publish what is no JSON."""
        seen: list[object] = []
        hooks.publish(lambda _caller, _channel, data: seen.append(data))

        await hooks.on_publish(ALICE, "news", b"\xff\x00")
        await hooks.on_publish(ALICE, "news", b"")

        assert seen == [b"\xff\x00", b""]

    @pytest.mark.parametrize("answer", [{"b": 2}, False, PublishAnswer(object())])
    async def test_other_answer_is_100(self, hooks: Hooks, answer: object) -> None:
        """Nothing is published that was not meant."""
        hooks.publish(lambda _caller, _channel, _data: answer)

        with pytest.raises(ReplyError) as caught:
            await hooks.on_publish(ALICE, "news", b"1")

        assert caught.value.code == ErrorCode.INTERNAL


class TestDisconnect:
    """``@hooks.disconnect``."""

    async def test_it_is_told_who_has_gone_and_why(self, hooks: Hooks) -> None:
        """Nobody waits for it."""
        told: list[object] = []

        @hooks.disconnect
        async def disconnect(caller: Caller, code: int) -> None:
            told.append((caller, code))

        hooks.on_disconnect(ALICE, 3005)
        assert told == []
        await hooks.finish()

        assert told == [(ALICE, 3005)]

    async def test_failure_is_in_the_log_alone(
        self, hooks: Hooks, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And the next one is told."""
        told: list[int] = []

        @hooks.disconnect
        async def disconnect(_caller: Caller, code: int) -> None:
            if code == 1:
                raise RuntimeError("database")
            told.append(code)

        for code in (1, 2):
            hooks.on_disconnect(ALICE, code)
        await hooks.finish()

        assert told == [2]
        assert len(caplog.records) == 1
        assert hooks.notices_dropped == 0

    async def test_without_one_nothing_is_queued(self, hooks: Hooks) -> None:
        """No task, no memory."""
        hooks.on_disconnect(ALICE, 1)

        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestTimeout:
    """``GATEWAY_HOOK_TIMEOUT_SECONDS``."""

    @pytest.mark.parametrize(("own", "effective"), [(None, 3), (7.0, 7)])
    def test_module_has_the_last_word(self, own: float | None, effective: float) -> None:
        """Whoever wrote the hooks knows how long they take."""
        hooks = Hooks(timeout_seconds=own)

        hooks.set_timeout(3)

        assert hooks._calls.timeout_seconds == effective


class TestLoad:
    """``GATEWAY_HOOKS=module:object``; a mistake is one line that names the variable."""

    def test_object_is_imported(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """From wherever Python finds modules."""
        (tmp_path / "my_hooks.py").write_text("from ws_gateway.hooks import Hooks\nhooks = Hooks()")
        monkeypatch.syspath_prepend(tmp_path)

        assert isinstance(load_hooks("my_hooks:hooks"), Hooks)

    @pytest.mark.parametrize(
        "path",
        [
            *("", ":", "json", "json:", ":hooks", "no_such_module:hooks", "json:hooks"),
            *("json:loads", "..json:loads", "a b:c", "json\n:loads"),
        ],
    )
    def test_what_is_no_hooks_stops_the_start(self, path: str) -> None:
        """Whatever is wrong with it."""
        with pytest.raises(ConfigurationError) as caught:
            load_hooks(path)

        assert str(caught.value).startswith("GATEWAY_HOOKS: ")
        assert "\n" not in str(caught.value)

    def test_module_that_fails_stops_the_start(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Also by another error than one of the import."""
        (tmp_path / "bad_hooks.py").write_text("hooks = 1 / 0")
        monkeypatch.syspath_prepend(tmp_path)

        with pytest.raises(ConfigurationError) as caught:
            load_hooks("bad_hooks:hooks")

        assert "division by zero" in str(caught.value)


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
