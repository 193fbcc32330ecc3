"""Clients without an SDK: a WebSocket, a token in the header, lines of JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typing_extensions import override
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from tests.integration.embedded import Embedded, ask, close_code, tell

pytestmark = pytest.mark.integration


class PingCounter(ClientConnection):
    """A connection that counts the WebSocket pings it answers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.pings: asyncio.Queue[None] = asyncio.Queue()

    @override
    def process_event(self, event: Any) -> None:
        """Take a frame or the handshake's answer."""
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings.put_nowait(None)
        super().process_event(event)


async def test_the_first_line_may_be_a_command_without_id(server: Embedded) -> None:
    """Authenticated by the header: no connect, no reply where none was asked for."""
    alice_id = server.subject("alice")
    async with server.bare(server.token("alice")) as connection:
        await connection.send('{"subscribe":{"channel":"lobby"}}')
        await connection.send('{"publish":{"channel":"lobby","data":{"text":"hello"}}}')

        message = await tell(connection)

    assert message["push"]["channel"] == "lobby"
    assert message["push"]["pub"]["data"] == {"text": "hello"}
    assert message["push"]["pub"]["info"]["user"] == alice_id


async def test_a_failed_command_without_id_is_answered_without_id(server: Embedded) -> None:
    """Silence would leave a bare client waiting."""
    async with server.bare(server.token()) as connection:
        reply = await ask(connection, subscribe={"channel": "staff:plans"})

    assert reply.keys() == {"error"}
    assert reply["error"]["code"] == 103


async def test_a_bare_client_talks_to_an_sdk(server: Embedded) -> None:
    """Both see the same channel."""
    async with (
        server.bare(server.token("bob")) as bob,
        server.sdk(token=server.token("alice")) as alice,
    ):
        await ask(bob, id=1, subscribe={"channel": "room:mixed"})
        for number in range(100):
            await alice.publish("room:mixed", number)
        received = [await tell(bob) for _ in range(100)]

    assert [message["push"]["pub"]["data"] for message in received] == list(range(100))


async def test_a_silent_bare_client_stays_and_still_receives(hasty: Embedded) -> None:
    """Its WebSocket library answers the pings; it owes no line of its own."""
    async with hasty.bare(hasty.token(), create_connection=PingCounter) as connection:
        assert isinstance(connection, PingCounter)
        await connection.send('{"subscribe":{"channel":"lobby"}}')
        async with asyncio.timeout(20):
            for _ in range(8):
                await connection.pings.get()

        await connection.send('{"publish":{"channel":"lobby","data":"still here"}}')
        message = await tell(connection)

    assert message["push"]["pub"]["data"] == "still here"


async def test_who_only_listens_gets_private_messages(hasty: Embedded) -> None:
    """Once the time for connect is over, the personal channel begins by itself."""
    bob_id = hasty.subject("bob")
    async with (
        hasty.bare(hasty.token("bob")) as bob,
        hasty.bare(hasty.token("alice")) as alice,
    ):
        while await asyncio.to_thread(hasty.metric, "gateway_subscriptions_active") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        command = {"channel": f"dm:#{bob_id}", "data": {"text": "psst"}}
        assert await ask(alice, id=1, publish=command) == {"id": 1, "publish": {}}
        message = await tell(bob)

    assert message["push"]["channel"] == f"dm:#{bob_id}"
    assert message["push"]["pub"]["data"] == {"text": "psst"}


async def test_connect_is_the_first_command_or_none(server: Embedded) -> None:
    """A bare connection stays bare: 3501."""
    async with server.bare(server.token()) as connection:
        await ask(connection, id=1, subscribe={"channel": "lobby"})
        await connection.send(json.dumps({"id": 2, "connect": {}}))

        assert await close_code(connection) == 3501


async def test_a_token_in_connect_after_one_in_the_header_ends_the_connection(
    server: Embedded,
) -> None:
    """Two credentials, and no rule which counts: 3501."""
    async with server.bare(server.token()) as connection:
        await connection.send(json.dumps({"id": 1, "connect": {"token": server.token("bob")}}))

        assert await close_code(connection) == 3501
