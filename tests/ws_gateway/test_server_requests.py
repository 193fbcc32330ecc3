"""Ordinary requests on the gateway's sockets, over real TCP on uvloop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.ws_gateway.raw_server import HOST, PATIENCE, on_uvloop, serving, until


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

    @pytest.mark.parametrize(
        "pieces",
        [
            pytest.param((f"GET /a HTTP/1.1\r\n{HOST}\r\n\r\n", "\r\n"), id="blank line"),
            pytest.param(
                (f"POST /hasty HTTP/1.1\r\n{HOST}\r\nContent-Length: 1\r\n\r\n", "a"),
                id="body behind its answer",
            ),
        ],
    )
    @on_uvloop
    async def test_only_a_request_keeps_it_alive(self, pieces: tuple[str, str]) -> None:
        """Whatever else a client sends, it is not waited for longer than for a silent one."""
        async with serving() as running:
            running.config.timeout_keep_alive = 1
            asked, more = pieces
            client = await running.ask(asked)
            assert (await client.response())[0] == 200
            client.send(more)

            await client.hung_up()

    @on_uvloop
    async def test_request_that_began_before_an_answer_is_not_cut(self) -> None:
        """Its connection is not idle, although the time for that began with the answer."""
        async with serving() as running:
            running.config.timeout_keep_alive = int(PATIENCE)
            head = f"GET /a HTTP/1.1\r\n{HOST}\r\n\r\n"
            client = await running.ask(head, "GET /held")
            assert (await client.response())[0] == 200
            await client.reader.readexactly(len("/a 0"))
            (protocol,) = running.protocols
            await until(lambda: protocol.timeout_keep_alive_task is not None)
            client.send(f" HTTP/1.1\r\n{HOST}\r\n\r\n")
            await until(lambda: len(running.app.scopes) == 2)

            assert protocol.timeout_keep_alive_task is None
            running.app.proceed.set()
            assert (await client.response())[0] == 200

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

    @on_uvloop
    async def test_application_is_told_that_a_client_with_more_to_ask_has_left(self) -> None:
        """It is the first request that runs, and not the one that came last."""
        async with serving() as running:
            client = await running.ask(
                *(f"GET {path} HTTP/1.1\r\n{HOST}\r\n\r\n" for path in ("/waits", "/b"))
            )
            await running.app.running.wait()
            client.hang_up()

            await until(lambda: bool(running.app.gone))
            assert running.app.gone == [{"type": "http.disconnect"}]

    def test_fault_behind_pipelined_requests_is_not_the_applications(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What that has to say comes too late."""

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                good = (f"GET {path} HTTP/1.1\r\n{HOST}\r\n\r\n" for path in ("/held", "/b"))
                client = await running.ask(*good, "x\r\n\r\n")
                await client.hung_up()
                running.app.proceed.set()
                await until(lambda: not running.state.tasks)

                assert [scope["path"] for scope in running.app.scopes] == ["/held"]

        run()

        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
