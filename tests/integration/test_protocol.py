"""Clients that break the protocol's rules on an open connection, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from tests.integration.embedded import Embedded, ask, close_code, tell

pytestmark = pytest.mark.integration


@asynccontextmanager
async def connected(server: Embedded, **claims: Any) -> AsyncIterator[ClientConnection]:  # noqa: ANN401
    """Connect by the token in the connect command."""
    async with server.bare() as connection:
        reply = await ask(connection, id=1, connect={"token": server.sign(**claims)})
        assert reply["connect"]["client"]
        yield connection


def closings(lines: list[dict[str, Any]]) -> list[int]:
    """Return the codes of the connections that were closed."""
    return [line["code"] for line in lines if line["event"] == "connection closed"]


DEEP = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"id":2,"connect":{}}', 3501),
        ('{"id":2,"dance":{}}', 3501),
        ('{"id":2}', 3501),
        ('{"id":2,"ping":{}}', 3501),
        ('{"id":2,"send":{}}', 3508),
        ("{}", 3501),
        ('{"id":2,"subscribe":', 3501),
        ('{"id":-2,"subscribe":{"channel":"lobby"}}', 3501),
        ('{"id":2,"subscribe":{}}', 3501),
        ('{"id":2,"subscribe":[]}', 3501),
        ("[]", 3501),
        ("hello", 3501),
        ("", 3501),
        ("\n", 3501),
        ('{"id":2,"rpc":{"method":"echo"}}\n\n{"id":3,"rpc":{"method":"echo"}}', 3501),
        (b'{"id":2,"subscribe":{"channel":"lobby"}}', 3501),
        (f'{{"id":2,"publish":{{"channel":"lobby","data":{DEEP}}}}}', 3501),
        ("x" * 70_000, 1009),
        (json.dumps({"id": 2, "publish": {"channel": "lobby", "data": "x" * 70_000}}), 1009),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_breaking_the_protocol_ends_the_connection(
    server: Embedded, message: str | bytes, code: int
) -> None:
    """A terminal code and one log line: no SDK comes back with the same mistake."""
    async with connected(server) as connection:
        with server.logged() as lines:
            await connection.send(message)

            assert await close_code(connection) == code

    assert closings(lines) == [code]


@pytest.mark.parametrize(
    "message",
    ['{"id":1,"subscribe":{"channel":"lobby"}}', "{}", '{"id":1,"rpc":{"method":"echo"}}', "hello"],
)
async def test_a_command_before_connect_ends_the_connection(server: Embedded, message: str) -> None:
    """Who has said nothing about himself may say nothing else."""
    async with server.bare() as connection:
        await connection.send(message)

        assert await close_code(connection) == 3501


async def test_text_that_is_not_utf8_ends_the_connection(server: Embedded) -> None:
    """RFC 6455 section 8.1."""
    async with connected(server) as connection:
        text = b'{"id":2,"rpc":{"method":"echo","data":"\xff"}}'
        connection.protocol.writes.append(Frame(Opcode.TEXT, text).serialize(mask=True))
        connection.send_data()

        assert await close_code(connection) == 1007


async def test_of_two_requests_in_one_command_the_first_counts(server: Embedded) -> None:
    """The protocol's order is that of its schema: subscribe comes before publish."""
    async with connected(server) as connection:
        reply = await ask(
            connection,
            id=2,
            publish={"channel": "lobby", "data": 1},
            subscribe={"channel": "lobby"},
        )

    assert list(reply) == ["id", "subscribe"]


async def test_a_refused_command_leaves_the_connection_open(server: Embedded) -> None:
    """The reply names the error, the log says it once, and the next command works."""
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("subscribe", {"channel": "staff:plans"}, 103),
        ("subscribe", {"channel": "dm:#signed-by-the-test"}, 105),  # the server has done it
        ("subscribe", {"channel": "dm:#somebody"}, 103),
        ("subscribe", {"channel": "garden:east"}, 102),
        ("subscribe", {"channel": "lobby2"}, 107),
        ("subscribe", {"channel": "room:" + "x" * 251}, 107),
        ("publish", {"channel": "staff:plans", "data": 1}, 103),
        ("publish", {"channel": "garden:east", "data": 1}, 102),
        ("publish", {"channel": "lobby"}, 107),
        ("history", {"channel": "lobby"}, 103),
        ("presence", {"channel": "lobby"}, 103),
        ("rpc", {"method": "dance"}, 104),
    ]
    async with connected(server) as connection:
        for number, (name, request, code) in enumerate(cases, start=2):
            with server.logged() as lines:
                reply = await ask(connection, id=number, **{name: request})

            assert (reply["id"], reply["error"]["code"]) == (number, code), (name, request)
            assert [(line["event"], line["code"]) for line in lines] == [("command refused", code)]

        assert await ask(connection, id=99, rpc={"method": "echo", "data": 7}) == {
            "id": 99,
            "rpc": {"data": 7},
        }


async def test_a_second_subscription_to_one_channel_is_refused(server: Embedded) -> None:
    """105, and the first goes on."""
    async with connected(server) as connection:
        assert "subscribe" in await ask(connection, id=2, subscribe={"channel": "lobby"})
        reply = await ask(connection, id=3, subscribe={"channel": "lobby"})
        assert reply["error"]["code"] == 105

        await connection.send(json.dumps({"id": 4, "publish": {"channel": "lobby", "data": 1}}))
        received = [await tell(connection), await tell(connection)]

    assert [message["push"]["channel"] for message in received if "push" in message] == ["lobby"]


async def test_the_129th_channel_is_refused(server: Embedded) -> None:
    """The personal channel is the first of the 128."""
    async with connected(server) as connection:
        commands = [
            {"id": number, "subscribe": {"channel": f"room:{number}"}} for number in range(2, 130)
        ]
        await connection.send("\n".join(json.dumps(command) for command in commands))
        replies: list[Any] = []
        while len(replies) < len(commands):
            message = str(await connection.recv())
            replies += [json.loads(line) for line in message.split("\n")]

        assert await asyncio.to_thread(server.metric, "gateway_subscriptions_active") == 128

    assert [reply["id"] for reply in replies if "error" not in reply] == list(range(2, 129))
    assert [reply["error"]["code"] for reply in replies if "error" in reply] == [106]


async def test_connect_without_a_token_asks_for_one(server: Embedded) -> None:
    """109, upon which an SDK calls getToken; nothing else may follow."""
    async with server.bare() as connection:
        reply = await ask(connection, id=1, connect={})
        assert reply["error"]["code"] == 109

        await connection.send(json.dumps({"id": 2, "connect": {"token": server.sign()}}))
        assert await close_code(connection) == 3501


async def test_an_expired_token_in_connect_asks_for_another(server: Embedded) -> None:
    """It was good once, so the same kind of token will be good again."""
    async with server.bare() as connection:
        reply = await ask(connection, id=1, connect={"token": server.sign(lifetime=-60)})

    assert reply["error"]["code"] == 109


@pytest.mark.parametrize(
    "claims", [{"aud": "another"}, {"iss": "https://evil.example"}, {"sub": 7}]
)
async def test_a_bad_token_in_connect_ends_the_connection(
    server: Embedded, claims: dict[str, Any]
) -> None:
    """3500 is terminal: the client must not try it again for ever."""
    token = server.sign(**claims)
    async with server.bare() as connection:
        with server.logged() as lines:
            await connection.send(json.dumps({"id": 1, "connect": {"token": token}}))

            assert await close_code(connection) == 3500

    assert closings(lines) == [3500]
    assert not [part for part in token.split(".") if part in json.dumps(lines)]


async def test_a_token_without_the_scope_does_not_connect(server: Embedded) -> None:
    """3507: a token for something else is no ticket."""
    async with server.bare() as connection:
        token = server.sign(scope="api")
        await connection.send(json.dumps({"id": 1, "connect": {"token": token}}))

        assert await close_code(connection) == 3507


async def test_a_connection_ends_with_its_token(server: Embedded) -> None:
    """3005, whether the token came in connect (here without grace) or at the handshake."""
    async with (
        connected(server, lifetime=1) as by_command,
        server.bare(server.sign(lifetime=1)) as by_header,
    ):
        assert await close_code(by_command) == 3005
        assert await close_code(by_header) == 3005


@pytest.mark.parametrize("user", ["alice,bob", "alice#bob", "#", "a:b"])
async def test_a_strange_user_id_gets_no_personal_channel(server: Embedded, user: str) -> None:
    """It could name two users' channel, or another's; no publication reaches it either."""
    async with connected(server, sub=user) as connection:
        await connection.send(
            json.dumps({"id": 2, "publish": {"channel": f"dm:#{user}", "data": 1}})
        )
        assert (await tell(connection))["error"]["code"] in {103, 1404}
        assert await asyncio.to_thread(server.metric, "gateway_subscriptions_active") == 0


async def test_a_token_names_channels_that_its_bearer_is_subscribed_to(server: Embedded) -> None:
    """``staff:`` is open to those whose token says so, and to nobody else."""
    async with server.bare() as connection:
        token = server.sign(channels=["staff:plans"])
        reply = await ask(connection, id=1, connect={"token": token})

    assert reply["connect"]["subs"].keys() == {"staff:plans", "dm:#signed-by-the-test"}


async def test_who_does_not_connect_in_time_is_closed(hasty: Embedded) -> None:
    """3502: an open socket that says nothing is not kept."""
    async with hasty.bare() as connection:
        assert await close_code(connection) == 3502


async def test_who_does_not_answer_pings_is_closed(hasty: Embedded) -> None:
    """3012, after the time for a pong."""
    async with hasty.bare() as connection:
        await ask(connection, id=1, connect={"token": hasty.sign()})

        assert await close_code(connection) == 3012
