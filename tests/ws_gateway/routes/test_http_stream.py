"""A connection over a response without end, JSON and Protobuf."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from tests.ws_gateway.routes.front import PAGE, Front, Issuer, bearer
from tests.ws_gateway.routes.streamed_client import CHANNELS, client, emulate, http_stream
from ws_gateway.fallbacks import emulation_pb2
from ws_gateway.protocol import client_pb2 as pb

PATH = "/connection/http_stream"
CONNECT = {"id": 1, "connect": {}}


async def test_it_is_off_unless_switched_on(front: Front) -> None:
    """No path of it is there."""
    async with client(front) as http:
        statuses = {
            (await http.request(method, path)).status_code
            for method in ("GET", "POST", "OPTIONS")
            for path in (PATH, "/connection/sse", "/emulation")
        }

    assert statuses == {404}


async def test_a_conversation(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """Commands by requests, replies and publications by the response."""
    command = {"id": 1, "connect": {"token": issuer.mint()}}
    async with http_stream(http, command) as alice:
        result = await alice.connected()
        subscribed = await alice.ask({"id": 2, "subscribe": {"channel": "news"}})
        first = await alice.ask({"id": 3, "publish": {"channel": "news", "data": {"n": 1}}})
        second = await alice.message()

    assert len(result["session"]) == 22
    assert (result["ping"], result["pong"]) == (25, True)
    assert subscribed == {"id": 2, "subscribe": {}}
    by_kind = sorted((first, second), key=lambda message: "push" in message)
    assert by_kind[0] == {"id": 3, "publish": {}}
    assert by_kind[1]["push"]["pub"]["data"] == {"n": 1}
    assert by_kind[1]["push"]["pub"]["info"]["user"] == "alice"


async def test_the_head_forbids_keeping_it_anywhere(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """A proxy that buffered it would swallow the connection."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        headers = alice.response.headers

    assert headers["content-type"] == "application/x-ndjson"
    assert headers["x-accel-buffering"] == "no"
    assert {"private", "no-cache", "no-store"} <= set(headers["cache-control"].split(", "))
    assert headers["pragma"] == "no-cache"


async def test_a_handshakes_token_needs_none_in_connect(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """And allows none beside it."""
    headers = dict([bearer(issuer.mint())])
    async with http_stream(http, headers=headers) as alice:
        result = await alice.connected()
    async with http_stream(
        http, {"id": 1, "connect": {"token": issuer.mint()}}, headers=headers
    ) as twice:
        end = await twice.message()

    assert "expires" not in result
    assert end == {"push": {"disconnect": {"code": 3501, "reason": "bad request"}}}


async def test_several_commands_may_come_with_connect(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """They are carried out in order."""
    commands = (CONNECT, {"id": 2, "subscribe": {"channel": "news"}})
    async with http_stream(http, *commands, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()

        assert await alice.message() == {"id": 2, "subscribe": {}}


async def test_a_bad_token_in_connect_ends_it_with_a_push(http: httpx2.AsyncClient) -> None:
    """There is no close frame to say it."""
    async with http_stream(http, {"id": 1, "connect": {"token": "x.y.z"}}) as nobody:
        assert await nobody.message() == {
            "push": {"disconnect": {"code": 3500, "reason": "invalid token"}}
        }
        assert await nobody.message() is None


async def test_no_token_is_answered_as_on_a_websocket(http: httpx2.AsyncClient) -> None:
    """109, for which an SDK calls getToken."""
    async with http_stream(http) as nobody:
        reply = await nobody.message()

    assert reply["error"]["code"] == 109


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"Authorization": "Bearer x.y.z"}),
        (401, {"Authorization": "Basic eDp5"}),
        (403, {"Origin": "https://evil.example"}),
        (403, {"Origin": "null"}),
    ],
)
async def test_the_door_is_the_same(
    http: httpx2.AsyncClient, streaming: Front, status: int, headers: dict[str, str]
) -> None:
    """Before the response begins, and counted with the others."""
    answer = await http.post(PATH, json=CONNECT, headers=headers)

    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert streaming.outcome({401: "unauthorized", 403: "forbidden"}[status]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"\xff",
        b'{"id":1,"connect":{}}\n\n{}',
        b'{"connect":{}}',
        b'{"id":1,"subscribe":{"channel":"news"}}',
        b'{"id":2,"subscribe":{"channel":"news"}}\n{"id":1,"connect":{}}',
        b"[" * 5000,
        b'{"id":1,"connect":{"token":"\xff"}}',
    ],
)
async def test_a_body_that_does_not_begin_with_connect_is_refused(
    http: httpx2.AsyncClient, issuer: Issuer, body: bytes
) -> None:
    """Nobody could ever learn the session of such a connection."""
    answer = await http.post(PATH, content=body, headers=dict([bearer(issuer.mint())]))

    assert answer.status_code == 400


async def test_a_body_over_the_limit_is_refused(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """Whether its length is announced or not."""
    headers = dict([bearer(issuer.mint())])
    body = b'{"id":1,"connect":{"data":"' + b"x" * 70_000 + b'"}}'

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    announced = await http.post(PATH, content=body, headers=headers)
    chunked = await http.post(PATH, content=pieces(), headers=headers)

    assert (announced.status_code, chunked.status_code) == (413, 413)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_opens_it(http: httpx2.AsyncClient, method: str) -> None:
    """Its command is in the body."""
    answer = await http.request(method, PATH)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_protobuf(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """The same conversation in the other encoding, of any bytes."""
    binary = {"Content-Type": "application/octet-stream"}

    def delimited(*commands: pb.Command) -> bytes:
        return b"".join(
            len(text).to_bytes(1, "big") + text
            for text in (command.SerializeToString() for command in commands)
        )

    connect = delimited(pb.Command(id=1, connect=pb.ConnectRequest()))
    headers = dict([bearer(issuer.mint())]) | binary
    async with http.stream("POST", PATH, content=connect, headers=headers) as response:
        received = b""
        chunks = response.aiter_raw()

        async def reply() -> pb.Reply:
            nonlocal received
            while not received or len(received) <= received[0]:
                received += await anext(chunks)
            text, received = received[1 : received[0] + 1], received[received[0] + 1 :]
            return pb.Reply.FromString(text)

        connected = (await reply()).connect
        commands = delimited(
            pb.Command(id=2, subscribe=pb.SubscribeRequest(channel="bytes:x")),
            pb.Command(id=3, publish=pb.PublishRequest(channel="bytes:x", data=b"\xff\n\r")),
        )
        body = emulation_pb2.EmulationRequest(
            node=connected.node, session=connected.session, data=commands
        ).SerializeToString()
        sent = await emulate(http, body, binary)
        replies = [await reply() for _ in range(3)]

    assert response.headers["content-type"] == "application/octet-stream"
    assert sent.status_code == 204
    assert {reply.id for reply in replies} == {0, 2, 3}
    assert [reply.push.pub.data for reply in replies if not reply.id] == [b"\xff\n\r"]


async def test_a_client_that_leaves_is_gone(
    http: httpx2.AsyncClient, streaming: Front, issuer: Issuer
) -> None:
    """With its session; the request that comes afterwards is told so."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        assert len(streaming.gateway.node._members) == 1
    async with asyncio.timeout(10):
        await streaming.empty()

    assert (await alice.post({"id": 2, "subscribe": {"channel": "news"}})).status_code == 404


async def test_who_has_not_said_who_he_is_is_counted_until_he_has(
    make_front: Callable[..., Awaitable[Front]], issuer: Issuer
) -> None:
    """The same bound as for WebSockets."""
    front = await make_front(http_stream=True, max_unauthenticated_per_address=1)
    async with client(front) as http:
        async with http_stream(http) as waiting:
            assert (await waiting.message())["error"]["code"] == 109
            refused = await http.post(PATH, json=CONNECT)
        async with asyncio.timeout(10):
            await front.empty()
        command = {"id": 1, "connect": {"token": issuer.mint()}}
        async with http_stream(http, command) as alice:
            await alice.connected()
            counted = front.handshakes()

    assert refused.status_code == 429
    assert counted == 0


async def test_a_drain_ends_it_with_a_code(
    http: httpx2.AsyncClient, streaming: Front, issuer: Issuer
) -> None:
    """And whoever comes then is sent elsewhere."""
    headers = dict([bearer(issuer.mint())])
    async with http_stream(http, headers=headers) as alice:
        await alice.connected()
        await streaming.gateway.node.drain(0)
        end = await alice.message()
        rest = await alice.message()
    late = await http.post(PATH, json=CONNECT, headers=headers)

    assert end == {"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}
    assert rest is None
    assert late.status_code == 503
    assert late.headers["retry-after"]


async def test_pings_are_answered_by_requests(
    make_front: Callable[..., Awaitable[Front]], issuer: Issuer
) -> None:
    """A pong that came twice, as a browser may send it, ends nothing; none at all does (3012)."""
    front = await make_front(http_stream=True, ping_interval=0.6, pong_timeout=0.5)
    async with (
        client(front) as http,
        http_stream(http, headers=dict([bearer(issuer.mint())])) as alice,
    ):
        await alice.connected()
        assert await alice.message() == {}
        assert [(await alice.post({})).status_code for _ in range(3)] == [204] * 3
        assert await alice.message() == {}
        end = await alice.message()

    assert end == {"push": {"disconnect": {"code": 3012, "reason": "no pong"}}}


@pytest.mark.parametrize("path", [PATH, "/connection/sse"])
async def test_a_client_that_stops_reading_is_cut(
    make_front: Callable[..., Awaitable[Front]], issuer: Issuer, tmp_path: Path, path: str
) -> None:
    """Past its bounds, while the others of the channel go on."""
    channels = tmp_path / "streamed.toml"
    channels.write_text(CHANNELS)
    front = await make_front(
        http_stream=True,
        sse=True,
        channels_file=channels,
        max_queue_bytes=65_536,
        max_stall_seconds=60,
    )
    node = front.gateway.node
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port, limit=1024)
    body = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'
    name, token = bearer(issuer.mint())
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{name}: {token}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"\r\n" + body)
    assert b"200" in await reader.readline()

    async with (
        client(front) as http,
        http_stream(http, headers=dict([bearer(issuer.mint("bob"))])) as bob,
    ):
        await bob.connected()
        await bob.ask({"id": 2, "subscribe": {"channel": "news"}})
        text = "x" * 60_000
        async with asyncio.timeout(30):
            number = 2
            while len(node._members) > 1:
                number += 1
                publish = {"id": number, "publish": {"channel": "news", "data": text}}
                told = [await bob.ask(publish), await bob.message()]
                assert {message.get("id", 0) for message in told} == {0, number}

    assert node.metrics.disconnects[3008] == 1
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 20):
                pass
    writer.close()


async def test_a_commands_number_counts_once(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """A request that a browser has sent twice is not carried out twice; order does not matter."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        await alice.ask({"id": 9, "subscribe": {"channel": "news"}})
        publish = {"id": 4, "publish": {"channel": "news", "data": "once"}}
        sent = [(await alice.post(publish)).status_code for _ in range(3)]
        connect_again = await alice.post(CONNECT)
        last = await alice.post({"id": 10, "publish": {"channel": "news", "data": "last"}})
        told = [await alice.message() for _ in range(4)]

    assert [*sent, connect_again.status_code, last.status_code] == [204] * 5
    pushed = [message["push"]["pub"]["data"] for message in told if "push" in message]
    assert pushed == ["once", "last"]
    assert sorted(message["id"] for message in told if "id" in message) == [4, 10]


async def test_pages_of_allowed_origins_may_read_it(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """The answer names the page's origin, also where it is a refusal."""
    headers = {"Origin": PAGE}
    async with http_stream(http, headers=headers | dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        opened = alice.response.headers
    refused = await http.post(PATH, content=b"?", headers=headers)
    preflight = await http.options(
        PATH, headers=headers | {"Access-Control-Request-Headers": "content-type"}
    )

    for answer in (opened, refused.headers, preflight.headers):
        assert answer["access-control-allow-origin"] == PAGE
        assert answer["access-control-allow-credentials"] == "true"
        assert answer["vary"] == "Origin"
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert preflight.headers["access-control-allow-headers"] == "content-type"
    assert preflight.headers["access-control-max-age"] == "300"


async def test_no_token_is_in_the_log(
    http: httpx2.AsyncClient,
    streaming: Front,
    issuer: Issuer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor a session, which is as good as one."""
    caplog.set_level("DEBUG", "ws_gateway")
    caplog.set_level("DEBUG", "uvicorn")
    token = issuer.mint()
    async with http_stream(http, {"id": 1, "connect": {"token": token}}) as alice:
        session = (await alice.connected())["session"]
        await alice.post({"id": 2, "subscribe": {"channel": "no:such"}})
        await alice.message()
    await http.post(PATH, content=json.dumps({"id": 1, "connect": {"token": token}, "x": "\ud800"}))
    async with asyncio.timeout(10):
        await streaming.empty()
    said = "\n".join(json.dumps(vars(record), default=str) for record in caplog.records)

    assert "connection closed" in said
    assert token not in said
    assert session not in said
