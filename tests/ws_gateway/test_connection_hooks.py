"""A connection whose operator has code of his own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.ws_gateway.commands import (
    MakeGateway,
    error,
    subscribe,
)
from tests.ws_gateway.conftest import settle
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    ReplyError,
)
from ws_gateway.hooks import Caller, Hooks


class TestHooks:
    """``rpc`` (section 11)."""

    async def test_result_is_the_reply(self, make_gateway: MakeGateway, alice: Credentials) -> None:
        """And commands behind it wait for it."""
        hooks = Hooks()

        @hooks.rpc("echo")
        async def echo(_caller: Caller, data: Any) -> Any:  # noqa: ANN401
            await asyncio.sleep(0)
            return data

        peer = await make_gateway(hooks=hooks).connect(alice)

        replies = await peer.ask(
            {"id": 2, "rpc": {"method": "echo", "data": {"é": [1, None]}}}, subscribe("a", 3)
        )

        assert replies == [
            {"id": 2, "rpc": {"data": {"é": [1, None]}}},
            {"id": 3, "subscribe": {}},
        ]

    async def test_failing_hook_fails_its_command_only(
        self, make_gateway: MakeGateway, alice: Credentials, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No word of the cause on the wire."""
        hooks = Hooks()

        @hooks.rpc("fail")
        async def fail(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise RuntimeError("password is hunter2")

        @hooks.rpc("refuse")
        async def refuse(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise ReplyError(1042, "sold out")

        @hooks.rpc("cancelled")
        async def cancelled(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise asyncio.CancelledError

        peer = await make_gateway(hooks=hooks).connect(alice)

        replies = [
            (await peer.ask({"id": number, "rpc": {"method": method}}))[0]
            for number, method in enumerate(["fail", "refuse", "cancelled", "other"], 2)
        ]

        assert replies == [
            error(100, "internal server error", 2, temporary=True),
            error(1042, "sold out", 3),
            error(100, "internal server error", 4, temporary=True),
            error(104, "method not found", 5),
        ]
        assert peer.closed is None
        assert "hook failed" in caplog.text

    async def test_hook_is_cancelled_when_the_client_goes(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Before it has begun, and in the middle."""
        events: list[str] = []
        hooks = Hooks()

        @hooks.rpc("wait")
        async def wait(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            events.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                events.append("ended")

        gateway = make_gateway(hooks=hooks)
        for turns in (0, 1, 5):
            peer = await gateway.connect(alice)
            peer.send({"id": 2, "rpc": {"method": "wait"}})
            for _ in range(turns):
                await asyncio.sleep(0)
            peer.connection.lost(1006)
            await settle()

        assert events.count("begun") == events.count("ended") >= 1

    async def test_no_depth_of_an_argument_is_our_bug(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """An answer, 107, or 3501: never 3004, wherever the parsers give up."""
        hooks = Hooks()

        @hooks.rpc("echo")
        async def echo(_caller: Caller, data: Any) -> Any:  # noqa: ANN401
            return data

        gateway = make_gateway(hooks=hooks)
        for depth in (*range(850, 1010, 2), 3000, 20_000):
            peer = await gateway.connect(alice)
            argument = "[" * depth + "]" * depth

            peer.send_text(f'{{"id":2,"rpc":{{"method":"echo","data":{argument}}}}}')

            await settle()
            assert peer.closed in {None, 3501}
            peer.connection.lost(1000)
