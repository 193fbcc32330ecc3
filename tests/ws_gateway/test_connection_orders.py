"""What the server API makes a connection do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.ws_gateway.commands import (
    CONNECT,
    MakeCredentials,
    MakeGateway,
    by_token,
    error,
    publish,
    subscribe,
)
from ws_gateway.codes import DisconnectCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    Disconnect,
    ReplyError,
)
from ws_gateway.hooks import Caller, ConnectAnswer, Hooks, PublishAnswer, SubscribeAnswer


class TestOperatorsWord:
    """Hooks for connect, subscribe, publish and disconnect."""

    async def test_connect_hook_adds_info_data_and_channels(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """It is asked once, after the token."""
        hooks = Hooks()

        @hooks.connect
        async def connect(caller: Caller, data: object) -> ConnectAnswer:
            return ConnectAnswer(
                info={"seen": caller.info}, data={"echo": data}, channels=("room:1",)
            )

        peer = make_gateway(hooks=hooks).open(alice)

        replies = await peer.ask({"id": 1, "connect": {"data": [1]}})
        pushed, _ = await peer.ask(publish("room:1", 7))

        assert replies[0]["connect"]["data"] == {"echo": [1]}
        assert set(replies[0]["connect"]["subs"]) == {"room:1", "dm:#alice"}
        assert pushed["push"]["pub"]["info"]["conn_info"] == {"seen": {"name": "Alice"}}

    async def test_its_info_outlives_a_refresh(
        self, make_gateway: MakeGateway, make_credentials: MakeCredentials
    ) -> None:
        """The new token's is not shown suddenly; its channels are compared with the old token's."""
        hooks = Hooks()

        @hooks.connect
        async def connect(_caller: Caller, _data: object) -> ConnectAnswer:
            return ConnectAnswer(info="mine", channels=("room:1",))

        gateway = make_gateway(hooks=hooks)
        peer = await by_token(gateway, make_credentials())
        gateway.tokens.known["new"] = make_credentials(info=b'"theirs"')

        (reply,) = await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert "refresh" in reply
        assert peer.connection.session.credentials is not None
        assert peer.connection.session.credentials.info == b'"mine"'

    @pytest.mark.parametrize(
        ("refusal", "reply", "code"),
        [
            (ReplyError(1001, "not today"), [error(1001, "not today", 1)], None),
            (Disconnect(4501, reason="banned"), [], 4501),
        ],
    )
    async def test_connect_hook_may_refuse(
        self,
        make_gateway: MakeGateway,
        alice: Credentials,
        refusal: Exception,
        reply: list[Any],
        code: int | None,
    ) -> None:
        """By an error or the end; nothing was subscribed, and no disconnect is told."""
        hooks, gone = Hooks(), list[int]()
        hooks.disconnect(lambda _caller, code: gone.append(code))

        @hooks.connect
        async def connect(_caller: Caller, _data: object) -> None:
            raise refusal

        gateway = make_gateway(hooks=hooks)
        peer = gateway.open(alice)

        assert await peer.ask(CONNECT) == reply
        assert peer.closed == code
        peer.connection.lost(1001)
        await hooks.finish()
        assert gateway.broker.requests == []
        assert gone == []

    @pytest.mark.parametrize(
        ("refusal", "closed"),
        [
            (ReplyError(1001, "not today"), (3507, "permission denied")),
            (RuntimeError("database"), (3004, "internal server error")),
            (Disconnect(4501, reason="banned"), (4501, "banned")),
        ],
    )
    async def test_bare_connection_is_asked_about_too(
        self,
        make_gateway: MakeGateway,
        alice: Credentials,
        refusal: Exception,
        closed: tuple[int, str],
    ) -> None:
        """Leaving ``connect`` out is no way around; a command beside it is not performed."""
        hooks = Hooks()

        @hooks.connect
        async def connect(_caller: Caller, _data: object) -> None:
            raise refusal

        gateway = make_gateway(hooks=hooks)
        peer = gateway.open(alice)

        assert await peer.ask(subscribe("news")) == []
        assert peer.transport.closed == closed
        assert gateway.broker.requests == []

    async def test_subscribe_hook_may_refuse_and_add(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """It is asked about what the channels file allows, and about nothing else."""
        hooks, asked = Hooks(), list[str]()

        @hooks.subscribe
        async def check(_caller: Caller, channel: str, data: Any) -> SubscribeAnswer:  # noqa: ANN401
            asked.append(channel)
            if channel == "closed":
                raise ReplyError(1001, "closed")
            return SubscribeAnswer(info={"role": "x"}, data=data)

        peer = await make_gateway(hooks=hooks).connect(alice)

        replies = await peer.ask(
            {"id": 2, "subscribe": {"channel": "room:1", "data": [1]}},
            subscribe("closed", 3),
            subscribe("staff:1", 4),
        )
        pushed, _ = await peer.ask(publish("room:1", 7))

        assert replies == [
            {"id": 2, "subscribe": {"data": [1]}},
            error(1001, "closed", 3),
            error(103, "permission denied", 4),
        ]
        assert asked == ["room:1", "closed"]
        assert pushed["push"]["pub"]["info"]["chan_info"] == {"role": "x"}

    async def test_publish_hook_may_refuse_and_transform(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """What others receive is what it returned."""
        hooks = Hooks()

        @hooks.publish
        async def check(_caller: Caller, _channel: str, data: Any) -> PublishAnswer | None:  # noqa: ANN401
            if data == "spam":
                raise ReplyError(1002, "spam")
            return PublishAnswer({"shout": data.upper()}) if data != "as it is" else None

        peer = await make_gateway(hooks=hooks).connect(alice)
        await peer.ask(subscribe("news"))

        replies = await peer.ask(
            publish("news", "hello", 3), publish("news", "spam", 4), publish("news", "as it is", 5)
        )

        assert [reply["push"]["pub"]["data"] for reply in replies if "push" in reply] == [
            {"shout": "HELLO"},
            "as it is",
        ]
        assert error(1002, "spam", 4) in replies

    async def test_commands_stay_in_their_order_while_a_hook_takes_its_time(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """And no other connection waits."""
        hooks, gate = Hooks(), asyncio.Event()

        @hooks.publish
        async def check(_caller: Caller, _channel: str, data: object) -> None:
            if data == "slow":
                await gate.wait()

        gateway = make_gateway(hooks=hooks)
        slow, quick = await gateway.connect(alice), await gateway.connect(bob)
        await quick.ask(subscribe("news"))

        assert await slow.ask(publish("news", "slow", 3), publish("news", "next", 4)) == []
        assert len(await quick.ask(publish("news", "quick", 3))) == 2
        gate.set()

        assert [reply["id"] for reply in await slow.receive()] == [3, 4]
        received = [reply["push"]["pub"]["data"] for reply in await quick.receive()]
        assert received == ["slow", "next"]

    async def test_disconnect_hook_is_told_once_of_whoever_was_admitted(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """With the close code; not of one that never connected."""
        hooks, gone = Hooks(), list[tuple[str, int]]()

        @hooks.disconnect
        async def disconnect(caller: Caller, code: int) -> None:
            gone.append((caller.user, code))

        gateway = make_gateway(hooks=hooks)
        first, bare = await gateway.connect(alice), gateway.open(bob)
        await bare.ask(subscribe("news"))
        gateway.open().connection.lost(1006)

        first.connection.disconnect(DisconnectCode.FORCE_DISCONNECT)
        first.connection.lost(1006)
        bare.connection.lost(1001)
        await hooks.finish()

        assert sorted(gone) == [("alice", 3503), ("bob", 1001)]
