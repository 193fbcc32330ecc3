"""Requests that bring commands: whose they may be, and what becomes of bad ones."""

from __future__ import annotations

import asyncio
import json
import uuid

import httpx2
import pytest

from tests.ws_gateway.routes.front import PAGE, Front, Issuer, bearer
from tests.ws_gateway.routes.streamed_client import emulate, http_stream

SUBSCRIBE = {"id": 2, "subscribe": {"channel": "news"}}


def results(front: Front) -> dict[str, float]:
    """Return the requests counted by their outcome."""
    registry = front.gateway.metrics.registry
    return {
        sample.labels["result"]: sample.value
        for family in registry.collect()
        if family.name == "gateway_emulation_requests"
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"session": "x" * 22},
        {"session": ""},
        {"node": str(uuid.uuid4())},
        {"node": "*"},
        {"node": "x:y"},
        {"node": "../x"},
    ],
)
async def test_an_unknown_session_is_not_found(
    http: httpx2.AsyncClient, issuer: Issuer, changed: dict[str, str]
) -> None:
    """Nor is a node, of whatever name; an SDK connects anew then."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        answer = await alice.post(SUBSCRIBE, **changed)

    assert answer.status_code == (404 if all(changed.values()) else 400)


@pytest.mark.parametrize("opened", [{}, {"Origin": PAGE}])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": PAGE, "Sec-Fetch-Site": "same-origin"}, 404),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
async def test_a_session_is_good_for_its_own_origin_only(
    http: httpx2.AsyncClient,
    issuer: Issuer,
    opened: dict[str, str],
    headers: dict[str, str],
    status: int,
) -> None:
    """Another allowed origin is told no more than for a session that never was."""
    async with http_stream(http, headers=opened | dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        alice.headers = headers
        foreign = await alice.post(SUBSCRIBE)
        alice.headers = opened
        reply = await alice.ask(SUBSCRIBE)

    assert foreign.status_code == status
    assert reply == {"id": 2, "subscribe": {}}


async def test_a_session_that_has_ended_is_not_found(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """From the moment on at which the connection was closed."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        assert (await alice.ask({"id": 2}))["push"]["disconnect"]["code"] == 3501
        ended = await alice.post(SUBSCRIBE)

    assert ended.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"session":1,"node":"n","data":"{}"}',
        b'{"session":"s","node":"n","data":{}}',
        b'{"session":"s","node":"n"}',
        b'{"session":"s","node":"n","data":""}',
        b'{"session":"s","node":"n","data":"\\ud800"}',
        b"[" * 30_000,
    ],
)
async def test_a_body_that_is_none_is_refused(
    http: httpx2.AsyncClient, streaming: Front, body: bytes
) -> None:
    """And counted."""
    answer = await emulate(http, body)

    assert answer.status_code == 400
    assert results(streaming) == {"bad_request": 1}


async def test_a_body_over_the_limit_is_refused(http: httpx2.AsyncClient, streaming: Front) -> None:
    """Before it is read as anything."""
    answer = await emulate(http, b"x" * 65_537)

    assert answer.status_code == 413
    assert results(streaming) == {"too_large": 1}


@pytest.mark.parametrize("data", ["?", "{}\n\n{}", '{"id":-1,"rpc":{}}', "[]", '{"id":5}'])
async def test_a_message_that_is_none_ends_the_connection(
    http: httpx2.AsyncClient, issuer: Issuer, data: str
) -> None:
    """As it does on a WebSocket."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        answer = await alice.post(data=data)
        end = await alice.message()

    assert answer.status_code == 204
    assert end == {"push": {"disconnect": {"code": 3501, "reason": "bad request"}}}


async def test_the_encoding_must_be_the_connections(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """Protobuf into a JSON connection is an error of the client's."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        alice.headers = {"Content-Type": "application/octet-stream"}
        unreadable = await alice.post(SUBSCRIBE)
        session, node = alice.result["session"].encode(), alice.result["node"].encode()
        body = b"".join(
            [b"\x0a", bytes([len(node)]), node, b"\x12", bytes([len(session)]), session]
        )
        await emulate(http, body + b"\x1a\x01\x00", alice.headers)
        end = await alice.message()

    assert unreadable.status_code == 400
    assert end["push"]["disconnect"]["code"] == 3501


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_brings_commands(http: httpx2.AsyncClient, method: str) -> None:
    """A session does not belong into a URL."""
    answer = await http.request(method, "/emulation?session=x")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_a_preflight_is_answered_for_allowed_origins(http: httpx2.AsyncClient) -> None:
    """And for no others."""
    asked = {"Access-Control-Request-Headers": "content-type"}
    allowed = await http.options("/emulation", headers={"Origin": PAGE} | asked)
    foreign = await http.options("/emulation", headers={"Origin": "https://evil.example"} | asked)

    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert foreign.status_code == 403
    assert not [name for name in foreign.headers if name.startswith("access-control")]


async def test_requests_are_counted_by_their_outcome(
    http: httpx2.AsyncClient, streaming: Front, issuer: Issuer
) -> None:
    """With labels that no client can make up."""
    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        await alice.ask(SUBSCRIBE)
        await alice.post(SUBSCRIBE, session="other")
        await emulate(http, json.dumps({}).encode())
        await emulate(http, {}, {"Origin": "https://evil.example"})
        kinds = streaming.gateway.metrics.registry.get_sample_value(
            "gateway_fallback_connections", {"transport": "http_stream"}
        )

    assert results(streaming) == {"ok": 1, "unknown": 1, "bad_request": 1, "forbidden": 1}
    assert kinds == 1


async def test_a_client_that_outruns_its_connection_is_ended(
    http: httpx2.AsyncClient,
    streaming: Front,
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits for a connection that is held up is bounded; requests cannot be made to wait."""
    gateway = streaming.gateway

    async def never(*_arguments: object) -> None:
        await asyncio.Event().wait()

    async with http_stream(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        monkeypatch.setattr(gateway.node.broker, "publish", never)
        sent = []
        for number in range(2, 13):
            publish = {"id": number, "publish": {"channel": "news", "data": "x" * 50_000}}
            sent.append((await alice.post(publish)).status_code)
        end = await alice.message()

    assert sent[:6] == [204] * 6
    assert sent[-1] == 404
    assert end["push"]["disconnect"]["code"] == 3013
