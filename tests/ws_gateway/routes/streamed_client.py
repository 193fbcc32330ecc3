"""Clients of the fallbacks: one response that is read on, and requests beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx2

from tests.ws_gateway.routes.front import Front

CHANNELS = """
[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true

[namespaces.bytes]
publication_data_format = "binary"
allow_subscribe_for_client = true
allow_publish_for_client = true
"""
PATIENCE = 30.0
"""Only a failing test waits for so long."""


class Streamed:
    """One connection, JSON.

    Args:
        http: For its requests.
        response: The response that is read on.
        headers: What every request of its page has.
    """

    def __init__(
        self, http: httpx2.AsyncClient, response: httpx2.Response, headers: Mapping[str, str]
    ) -> None:
        self.http = http
        self.response = response
        self.headers = headers
        self.result: dict[str, Any] = {}
        self.raw = b""
        self._chunks = response.aiter_raw()

    async def message(self) -> Any:  # noqa: ANN401 - of each kind its own
        """Return the next message; None at the end of the response."""
        events = self.response.headers["content-type"] == "text/event-stream"
        end = b"\n\n" if events else b"\n"
        async with asyncio.timeout(PATIENCE):
            while end not in self.raw:
                try:
                    self.raw += await anext(self._chunks)
                except StopAsyncIteration:
                    return None
                if events:
                    self.raw = self.raw.removeprefix(b"\r\n")
        line, _, self.raw = self.raw.partition(end)
        return json.loads(line.removeprefix(b"data: ") if events else line)

    async def connected(self) -> dict[str, Any]:
        """Take the reply to connect."""
        reply = await self.message()
        self.result = reply["connect"]
        return self.result

    async def post(self, *commands: object, **other: Any) -> httpx2.Response:  # noqa: ANN401
        """Send commands, with other values in the body where they are given."""
        body = {
            "session": self.result["session"],
            "node": self.result["node"],
            "data": "\n".join(map(json.dumps, commands)),
        }
        return await emulate(self.http, body | other, self.headers)

    async def ask(self, *commands: object) -> Any:  # noqa: ANN401
        """Send commands, and return the next message."""
        answer = await self.post(*commands)
        assert answer.status_code == 204, answer.text
        return await self.message()


async def emulate(
    http: httpx2.AsyncClient, body: object, headers: Mapping[str, str] = {}
) -> httpx2.Response:
    """Send a request with commands."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await http.post("/emulation", content=content, headers={**JSON_TYPE, **headers})


JSON_TYPE = {"Content-Type": "application/json"}


def client(front: Front) -> httpx2.AsyncClient:
    """Return a client of a gateway."""
    return httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{front.port}", trust_env=False, timeout=PATIENCE
    )


@contextlib.asynccontextmanager
async def http_stream(
    http: httpx2.AsyncClient, *commands: object, headers: Mapping[str, str] = {}
) -> AsyncIterator[Streamed]:
    """Open a connection by ``/connection/http_stream``."""
    content = "\n".join(map(json.dumps, commands or ({"id": 1, "connect": {}},)))
    given = {**JSON_TYPE, **headers}
    async with http.stream(
        "POST", "/connection/http_stream", content=content, headers=given
    ) as response:
        yield Streamed(http, response, headers)


@contextlib.asynccontextmanager
async def sse(
    http: httpx2.AsyncClient, *commands: object, headers: Mapping[str, str] = {}
) -> AsyncIterator[Streamed]:
    """Open a connection by ``/connection/sse``."""
    message = "\n".join(map(json.dumps, commands or ({"id": 1, "connect": {}},)))
    url = f"/connection/sse?cf_connect={quote(message)}"
    async with http.stream("GET", url, headers=headers) as response:
        yield Streamed(http, response, headers)
