"""The fallbacks' handshake: its body, and when it is refused (test_http_stream.py has the rest)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from fastapi import HTTPException
from starlette.requests import Request

from tests.ws_gateway.routes.front import Front, Issuer, bearer
from tests.ws_gateway.routes.streamed_client import client, http_stream
from ws_gateway.protocol.codec import JSON, PROTOBUF
from ws_gateway.routes.streamed import check_first_message, chosen_codec


@pytest.mark.parametrize(
    ("media_type", "codec"),
    [
        ("application/octet-stream", PROTOBUF),
        ("Application/Octet-Stream ; x=1", PROTOBUF),
        ("application/json", JSON),
        ("text/plain", JSON),
        ("", JSON),
    ],
)
def test_the_bodys_type_chooses_the_encoding(media_type: str, codec: object) -> None:
    """Both directions have the same."""
    headers = [(b"content-type", media_type.encode())]

    assert chosen_codec(Request({"type": "http", "headers": headers})) is codec


def test_the_first_command_is_connect() -> None:
    """In either encoding."""
    check_first_message(b'{"id":1,"connect":{}}\n{}', JSON)
    check_first_message(b"\x04\x08\x01\x22\x00", PROTOBUF)
    for message, codec in ((b'{"id":1,"rpc":{}}', JSON), (b"\x02\x08\x01", PROTOBUF)):
        with pytest.raises(HTTPException, match="first command"):
            check_first_message(message, codec)


async def test_a_body_that_breaks_off_is_no_error_of_ours(
    http: httpx2.AsyncClient, streaming: Front, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients vanish at every moment."""
    del http
    reader, writer = await asyncio.open_connection("127.0.0.1", streaming.port)
    writer.write(
        b"POST /connection/http_stream HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    )
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    async with asyncio.timeout(10):
        while streaming.outcome("bad_request") < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    assert not [record for record in caplog.records if record.exc_info]


async def test_none_begins_that_other_gateways_could_not_reach(
    make_front: Callable[..., Awaitable[Front]],
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commands would be lost on their way."""
    front = await make_front(http_stream=True)
    emulation = front.gateway.emulation
    assert emulation is not None
    monkeypatch.setattr(type(emulation), "ready", False)
    async with client(front) as http:
        headers = dict([bearer(issuer.mint())])
        refused = await http.post(
            "/connection/http_stream", json={"id": 1, "connect": {}}, headers=headers
        )
        monkeypatch.undo()
        async with http_stream(http, headers=headers) as alice:
            await alice.connected()

    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert front.outcome("over_capacity") == 1
