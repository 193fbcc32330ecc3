"""Ordinary requests on the gateway's sockets, over real TCP on uvloop."""

from __future__ import annotations

import asyncio

import pytest

from tests.ws_gateway.raw_server import HOST, on_uvloop, serving


class TestOrdinaryRequests:
    """What is not a WebSocket is served as uvicorn serves it."""

    @on_uvloop
    async def test_connection_is_kept_alive(self) -> None:
        """RFC 9112 section 9.3; heads are counted anew each time."""
        async with serving() as running:
            client = await running.connect()
            for number in range(5):
                client.send(f"GET /{number} HTTP/1.1\r\n{HOST}\r\nA: {'x' * 6000}\r\n\r\n")
                status, headers = await client.response()
                body = await client.reader.readexactly(int(headers["content-length"]))

                assert (status, body) == (200, f"/{number} 0".encode())

    @on_uvloop
    async def test_pipelined_requests_are_answered_in_order(self) -> None:
        """RFC 9112 section 9.3.2."""
        async with serving() as running:
            client = await running.ask(
                *(f"GET /{number} HTTP/1.1\r\n{HOST}\r\n\r\n" for number in range(4))
            )

            for number in range(4):
                assert (await client.response())[0] == 200
                assert await client.reader.readexactly(4) == f"/{number} 0".encode()

    @pytest.mark.parametrize("chunked", [False, True])
    @on_uvloop
    async def test_body_may_be_larger_than_a_head(self, chunked: bool) -> None:
        """The bound is for heads."""
        size = 300_000
        async with serving() as running:
            client = await running.ask(f"POST /a HTTP/1.1\r\n{HOST}\r\n")
            if chunked:
                client.send("Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(size // 1000):
                    client.send("3e8\r\n", "x" * 1000, "\r\n")
                    await asyncio.sleep(0)
                client.send("0\r\n\r\n")
            else:
                client.send(f"Content-Length: {size}\r\n\r\n", "x" * size)

            assert (await client.response())[0] == 200
            assert await client.reader.readexactly(9) == f"/a {size}".encode()

    @on_uvloop
    async def test_foreign_upgrade_is_an_ordinary_request(self) -> None:
        """W7: a server may ignore an Upgrade it does not know (RFC 9110 section 7.8)."""
        async with serving() as running:
            client = await running.ask(
                f"GET /a HTTP/1.1\r\n{HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
                f"GET /b HTTP/1.1\r\n{HOST}\r\n\r\n",
            )

            for body in (b"/a 0", b"/b 0"):
                assert (await client.response())[0] == 200
                assert await client.reader.readexactly(len(body)) == body
