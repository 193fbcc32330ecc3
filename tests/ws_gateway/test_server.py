"""The socket of a client, from its first byte to its last, over real TCP and TLS on uvloop."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import logging
import weakref
from pathlib import Path

import pytest

from tests.ws_gateway.raw_server import (
    HOST,
    KEY,
    masked,
    on_uvloop,
    refusals,
    request,
    serving,
    until,
)
from ws_gateway import server
from ws_gateway.codes import DisconnectCode
from ws_gateway.frames import TEXT, frame
from ws_gateway.server import Handshake


class TestHead:
    """The request's head is bounded in bytes, in headers and in time (W8, W30)."""

    @on_uvloop
    async def test_large_head_in_one_piece_is_refused(self) -> None:
        """431 (RFC 6585 section 5), although it is complete."""
        async with serving() as running:
            client = await running.ask(request("/socket", "Cookie: " + "x" * 16_384))

            assert (await client.refusal())[0] == 431
            assert running.app.scopes == []

    @on_uvloop
    async def test_large_head_of_an_ordinary_request_is_refused(self) -> None:
        """Also where no WebSocket is asked for."""
        async with serving() as running:
            client = await running.ask(f"GET / HTTP/1.1\r\n{HOST}\r\nA: {'x' * 16_384}\r\n\r\n")

            assert (await client.refusal())[0] == 431
            assert running.app.scopes == []

    @on_uvloop
    async def test_long_target_is_refused(self) -> None:
        """W30: the target is part of the head."""
        async with serving() as running:
            client = await running.ask(request("/" + "x" * 65_536))

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_large_head_in_pieces_is_refused_before_its_end(self) -> None:
        """Nobody has to wait for the empty line."""
        async with serving() as running:
            client = await running.ask(request().removesuffix("\r\n"))
            client.send("Cookie: ")
            for _ in range(20):
                client.send("x" * 1000)
                await asyncio.sleep(0)

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_head_below_the_bound_passes(self) -> None:
        """A browser with large cookies comes in."""
        async with serving() as running:
            client = await running.ask(request("/socket", "Cookie: " + "x" * 15_000))

            await client.upgrade()

    @on_uvloop
    async def test_more_than_a_hundred_headers_are_refused(self) -> None:
        """However short they are."""
        async with serving() as running:
            client = await running.ask(request("/socket", *["A: b"] * 96))

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_a_hundred_headers_pass(self) -> None:
        """The bound is the largest number allowed."""
        async with serving() as running:
            client = await running.ask(request("/socket", *["A: b"] * 95))

            await client.upgrade()

    @pytest.mark.parametrize(
        ("version", "hosts", "status"),
        [("1.1", 0, 400), ("1.1", 1, 200), ("1.1", 2, 400), ("1.0", 0, 200), ("1.0", 2, 400)],
    )
    @on_uvloop
    async def test_ordinary_request_has_one_host(
        self, version: str, hosts: int, status: int
    ) -> None:
        """RFC 9112 section 3.2; HTTP/1.0 may leave it out."""
        async with serving() as running:
            lines = [f"GET / HTTP/{version}", *[HOST] * hosts, "", ""]
            client = await running.ask("\r\n".join(lines))

            assert (await client.response())[0] == status

    @on_uvloop
    async def test_second_head_of_a_connection_is_bounded_too(self) -> None:
        """Keep-alive is no way round it."""
        async with serving() as running:
            client = await running.ask(f"GET /a HTTP/1.1\r\n{HOST}\r\n\r\n")
            assert (await client.response())[0] == 200
            await client.reader.readexactly(len("/a 0"))
            client.send(f"GET /b HTTP/1.1\r\n{HOST}\r\nA: ", "x" * 20_000)

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_trailers_are_bounded(self) -> None:
        """They are fields behind the body (RFC 9112 section 7.1.2), and kept in memory too."""
        async with serving() as running:
            client = await running.ask(
                f"POST /held HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n",
                "1\r\na\r\n0\r\n",
            )
            await running.app.running.wait()
            for _ in range(40):
                client.send("A: ", "x" * 1000, "\r\n")
                await asyncio.sleep(0.001)

            assert (await client.refusal())[0] == 431

    @on_uvloop
    async def test_trailers_do_not_become_headers(self) -> None:
        """RFC 9110 section 6.5.1: they must not be merged unless the field allows it."""
        async with serving() as running:
            client = await running.ask(
                f"POST /a HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
                "1\r\na\r\n0\r\nAuthorization: Bearer late\r\n\r\n"
            )

            assert (await client.response())[0] == 200
            names = [name for name, _ in running.app.headers_at_the_end]
            assert names == [b"host", b"transfer-encoding"]

    def test_garbage_is_a_bad_request(
        self, either: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """400, and one answer only."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving(either) as running:
                client = await running.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

                assert (await client.refusal())[0] == 400

        run()

    def test_silent_connection_is_closed_at_the_deadline(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who says nothing keeps a descriptor."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect()

                assert (await client.refusal())[0] == 408
                await client.close()
                await until(lambda: not running.state.connections)

        run()

    def test_dribbled_head_is_closed_at_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each byte is a sign of life, and no reason to wait any longer."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.03)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect()
                head = request("/socket", "A: " + "x" * 15_000).encode()
                sending = asyncio.create_task(client.send_slowly(head))

                assert (await client.refusal())[0] == 408
                sending.cancel()

        run()

    def test_slow_body_is_closed_at_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And the application is told."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask(
                    f"POST / HTTP/1.1\r\n{HOST}\r\nContent-Length: 9\r\n\r\na"
                )

                assert (await client.refusal())[0] == 408
                assert running.app.gone == [{"type": "http.disconnect"}]

        run()

    def test_slow_application_is_not_the_clients_fault(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The deadline is for what the client sends, and over with the last byte of it."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask(f"GET /held HTTP/1.1\r\n{HOST}\r\n\r\n")
                await asyncio.sleep(0.08)  # longer than the deadline, and than its resolution
                running.app.proceed.set()

                assert (await client.response())[0] == 200

        run()

    def test_refused_client_that_stays_is_hung_up_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """We read on for a while, so that it gets the answer, and then no more."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask("x\r\n\r\n")
                await until(lambda: not running.state.connections)
                client.send("more")

                assert (await client.refusal())[0] == 400

        run()

    def test_refused_client_that_does_not_read_is_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would otherwise keep what it was answered in memory."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect(limit=1024)
                client.send(f"GET /large HTTP/1.1\r\n{HOST}\r\n\r\n")
                await until(lambda: bool(running.app.scopes))
                client.send("x\r\n\r\n")

                await until(lambda: not running.state.connections)

        run()

    def test_client_that_does_not_read_its_answer_is_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Closing would wait for ever for what it does not take."""
        monkeypatch.setattr(server, "UNREAD_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.connect(limit=1024)
                client.send(f"GET /large HTTP/1.1\r\n{HOST}\r\n\r\n")
                await until(lambda: bool(running.app.scopes))

                await until(lambda: not running.state.connections)

        run()

    @on_uvloop
    async def test_many_pipelined_requests_are_cut(self) -> None:
        """One read of small requests would become thousands of objects, held while one waits."""
        async with serving() as running:
            await running.ask(f"GET /held HTTP/1.1\r\n{HOST}\r\n\r\n" * 1000)
            await until(lambda: bool(running.app.scopes))
            await until(lambda: not running.state.connections)
            running.app.proceed.set()

            assert len(running.app.scopes) == 1

    @on_uvloop
    async def test_peer_that_leaves_in_the_middle_leaves_nothing(self) -> None:
        """No deadline runs for it."""
        async with serving() as running:
            client = await running.ask("GET / HT")
            await until(lambda: len(running.state.connections) == 1)
            client.hang_up()
            await until(lambda: not running.state.connections)

            assert len(running.state.__dict__["drawbridge_requests"]) == 0


class TestRequest:
    """RFC 6455 section 4.2.1: what a handshake must be."""

    @on_uvloop
    async def test_good_handshake_is_accepted(self) -> None:
        """Section 4.2.2, with the key's answer of section 1.3."""
        async with serving() as running:
            client = await running.ask(request())
            headers = await client.upgrade()

        digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")  # noqa: S324
        assert headers == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": base64.b64encode(digest.digest()).decode(),
        }

    @pytest.mark.parametrize(
        "lines",
        [
            ["Connection: Upgrade"],
            ["connection: UPGRADE"],
            ["Connection: upgrade , keep-alive"],
            ["Connection: keep-alive,\tUpgrade"],
            ["Connection: Upgrade", "Connection: keep-alive"],
            ["Connection: keep-alive", "Connection: Upgrade"],
        ],
    )
    @on_uvloop
    async def test_wish_to_upgrade_may_stand_anywhere_in_the_list(self, lines: list[str]) -> None:
        """RFC 9110 section 7.6.1: options in any case, on one line or on several."""
        async with serving() as running:
            client = await running.ask(request("/socket", *lines, without=["Connection"]))

            await client.upgrade()

    @pytest.mark.parametrize(
        ("without", "lines"),
        [
            ("Connection", []),
            ("Connection", ["Connection: keep-alive"]),
            ("Connection", ["Connection: upgraded, no-upgrade, up grade"]),
            ("Upgrade", []),
            ("Upgrade", ["Upgrade: websockets"]),
            ("Upgrade", ["Upgrade: h2c, websocket"]),
        ],
    )
    @on_uvloop
    async def test_request_that_does_not_wish_to_upgrade_is_an_ordinary_one(
        self, without: str, lines: list[str]
    ) -> None:
        """The words are compared whole."""
        async with serving() as running:
            client = await running.ask(request("/a", *lines, without=[without]))

            assert (await client.response())[0] == 200
            assert await client.reader.readexactly(4) == b"/a 0"

    @on_uvloop
    async def test_chosen_subprotocol_is_named(self) -> None:
        """What was offered is the application's to choose from."""
        async with serving() as running:
            running.app.subprotocol = "b"
            client = await running.ask(
                request("/socket", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c")
            )

            assert (await client.upgrade())["sec-websocket-protocol"] == "b"
            assert running.app.scopes[0]["subprotocols"] == ["a", "b", "c"]

    @on_uvloop
    async def test_extensions_are_not_negotiated(self) -> None:
        """W29: an offer of compression is ignored, however odd."""
        offers = ["permessage-deflate; client_max_window_bits=99", "x-unknown; a=1"]
        async with serving() as running:
            client = await running.ask(
                request("/socket", *(f"Sec-WebSocket-Extensions: {offer}" for offer in offers))
            )

            assert "sec-websocket-extensions" not in await client.upgrade()

    @pytest.mark.parametrize("versions", [[], ["8"], ["14"], ["13", "13"], ["13, 8"]])
    @on_uvloop
    async def test_other_version_is_told_ours(self, versions: list[str]) -> None:
        """Section 4.2.2: 426 with Sec-WebSocket-Version."""
        lines = [f"Sec-WebSocket-Version: {version}" for version in versions]
        async with serving() as running:
            client = await running.ask(
                request("/socket", *lines, without=["Sec-WebSocket-Version"])
            )
            status, headers, _ = await client.refusal()

            assert status == 426
            assert headers["sec-websocket-version"] == "13"
            assert running.app.scopes == []

    @pytest.mark.parametrize(
        "keys",
        [
            [],
            [""],
            ["c2l4dGVlbg=="],
            [KEY + "AAAA"],
            [KEY.replace("=", "")],
            ["!" + KEY[1:]],
            ["\xff" + KEY[1:]],
            [KEY, KEY],
        ],
    )
    @on_uvloop
    async def test_key_must_be_sixteen_bytes_once(self, keys: list[str]) -> None:
        """Section 4.1: base64 of 16 bytes, and the header exactly once."""
        lines = [f"Sec-WebSocket-Key: {key}" for key in keys]
        async with serving() as running:
            client = await running.ask(request("/socket", *lines, without=["Sec-WebSocket-Key"]))

            assert (await client.refusal())[0] == 400
            assert running.app.scopes == []

    @pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
    @on_uvloop
    async def test_other_method_is_not_allowed(self, method: str) -> None:
        """Section 4.1: GET; RFC 9110 section 15.5.6 wants Allow."""
        async with serving() as running:
            client = await running.ask(request(method=method))
            status, headers, _ = await client.refusal()

            assert status == 405
            assert headers["allow"] == "GET"

    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(request(version="1.0"), id="HTTP/1.0"),
            pytest.param(request("/socket", "Content-Length: 3") + "abc", id="body"),
            pytest.param(
                request("/socket", "Transfer-Encoding: chunked") + "1\r\na\r\n0\r\n\r\n",
                id="chunked",
            ),
            pytest.param(
                request("/socket", "Content-Length: 3", "Transfer-Encoding: chunked"), id="both"
            ),
            pytest.param(request("/socket", "Host: other"), id="two hosts"),
            pytest.param(request(without=["Host"]), id="no host"),
            pytest.param(request("/s\xf6cket"), id="path not ASCII"),
            pytest.param(request("/socket?a=\xf6"), id="query not ASCII"),
            pytest.param(request("socket"), id="no slash"),
            pytest.param(request("ws:/:"), id="no URL"),
            pytest.param(request("http://gateway:99999/socket"), id="no port"),
            pytest.param(request("gateway:80", method="CONNECT"), id="CONNECT"),
        ],
    )
    @on_uvloop
    async def test_what_is_no_handshake_is_a_bad_request(self, head: str) -> None:
        """W7, W30, W31; the application does not see it."""
        async with serving() as running:
            client = await running.ask(head)

            assert (await client.refusal())[0] == 400
            assert running.app.scopes == []

    @on_uvloop
    async def test_empty_body_may_be_announced(self) -> None:
        """Some clients do."""
        async with serving() as running:
            client = await running.ask(request("/socket", "Content-Length: 0"))

            await client.upgrade()

    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            ("/a%2e%2e/b?c=%20d", "/a../b", b"c=%20d"),
            ("//socket", "//socket", b""),
            ("/%2E%2e/socket", "/../socket", b""),
            ("/%ff", "/\ufffd", b""),
            ("http://gateway/a?b", "/a", b"b"),
            ("http://gateway", "/", b""),
            ("http://gateway?a", "/", b"a"),
        ],
    )
    @on_uvloop
    async def test_target_is_taken_apart(self, target: str, path: str, query: bytes) -> None:
        """The path is decoded once and otherwise left alone; RFC 9112 section 3.2.2."""
        async with serving() as running:
            client = await running.ask(request(target))
            await client.refusal()

            (scope,) = running.app.scopes
            assert scope["type"] == "websocket"
            assert scope["path"] == path
            assert scope["query_string"] == query

    @on_uvloop
    async def test_scope_says_how_the_request_came(self) -> None:
        """The ASGI specification, WebSocket connection scope."""
        async with serving() as running:
            await (await running.ask(request("/socket?a", "X-Header: Value"))).upgrade()

            (scope,) = running.app.scopes
            assert scope["scheme"] == "ws"
            assert scope["raw_path"] == b"/socket"
            assert scope["client"][0] == "127.0.0.1"
            assert scope["server"] is None, "ASGI need not say it, and to ask costs"
            assert scope["headers"][-1] == (b"x-header", b"Value")

    def test_scheme_is_wss_with_tls(self, certificate: tuple[Path, Path]) -> None:
        """The ASGI specification again."""

        @on_uvloop
        async def run() -> None:
            async with serving(certificate) as running:
                await running.open()

                assert running.app.scopes[0]["scheme"] == "wss"

        run()

    @on_uvloop
    async def test_handshake_behind_an_answered_request_is_accepted(self) -> None:
        """A kept-alive connection may become a WebSocket."""
        async with serving() as running:
            client = await running.ask(f"GET /a HTTP/1.1\r\n{HOST}\r\n\r\n")
            await client.response()
            await client.reader.readexactly(len("/a 0"))
            client.send(request())

            await client.upgrade()

    @on_uvloop
    async def test_handshake_behind_an_unanswered_request_is_refused(self) -> None:
        """Its 101 would overtake the answer (RFC 9112 section 9.3.2)."""
        async with serving() as running:
            client = await running.ask(f"GET /held HTTP/1.1\r\n{HOST}\r\n\r\n", request())

            assert (await client.refusal())[0] == 400
            assert len(running.app.scopes) == 1

    @on_uvloop
    async def test_handshake_behind_an_unread_answer_is_cut(self) -> None:
        """The socket would not learn that nobody reads, and its queue would have no bound."""
        async with serving() as running:
            client = await running.connect(limit=1024)
            client.send(f"GET /large HTTP/1.1\r\n{HOST}\r\n\r\n")
            await until(lambda: bool(running.app.scopes))
            client.send(request())

            await until(lambda: not running.state.connections)
            assert running.app.taken == []

    @on_uvloop
    async def test_request_behind_the_handshake_is_frames(self) -> None:
        """W31: nothing behind a 101 is HTTP any more."""
        async with serving() as running:
            client, recorder = await running.open(request("/other"))

            assert await client.closed() == 1002
            assert await recorder.until("failed") == [DisconnectCode.PROTOCOL_ERROR]
            assert len(running.app.scopes) == 1


class TestDenial:
    """What becomes of a handshake that the application does not take over."""

    @on_uvloop
    async def test_response_of_the_application_is_passed_on(self) -> None:
        """Status, headers and body; the extension ``websocket.http.response``."""
        async with serving() as running:
            client = await running.ask(request("/denied"))
            status, headers, body = await client.refusal()

        assert (status, body) == (429, b"not now")
        assert headers["retry-after"] == "7"
        assert headers["content-type"] == "text/odd"

    @on_uvloop
    async def test_status_need_not_be_a_registered_one(self) -> None:
        """RFC 9110 section 15: clients know the class of an unknown status."""
        async with serving() as running:
            client = await running.ask(request("/odd-status"))

            assert (await client.refusal())[0] == 499

    @on_uvloop
    async def test_close_before_accept_is_403(self) -> None:
        """The ASGI specification, ``websocket.close``."""
        async with serving() as running:
            client = await running.ask(request("/closes"))

            assert (await client.refusal())[0] == 403

    @pytest.mark.parametrize("path", ["/raises", "/accepts"])
    def test_failing_application_is_500_without_a_word(
        self, path: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What went wrong is for the log; only sockets that are taken over are served."""

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client = await running.ask(request(path))

                status, _, body = await client.refusal()
                assert (status, body) == (500, b"Internal Server Error")

        run()

        (record,) = refusals(caplog)
        assert record.levelname == "ERROR"
        assert record.exc_info
        assert record.exc_info[1] is not None
        assert record.exc_info[1].__context__ is None  # the upgrade itself is no error

    @on_uvloop
    async def test_application_that_does_nothing_is_500(self) -> None:
        """A client never waits for an answer that will not come."""
        async with serving() as running:
            client = await running.ask(request("/nothing"))

            assert (await client.refusal())[0] == 500

    def test_refusal_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """One line, without anything of the request."""
        caplog.set_level(logging.INFO)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                head = request(
                    "/socket?access_token=secret",
                    "Authorization: Bearer secret",
                    without=["Sec-WebSocket-Key"],
                )
                await (await running.ask(head)).refusal()

        run()

        (record,) = refusals(caplog)
        assert record.__dict__["status"] == 400
        assert "secret" not in str(record.__dict__)

    @on_uvloop
    async def test_client_that_leaves_early_is_not_taken_over(self) -> None:
        """The application learns it from the answer of ``take_over``."""
        async with serving() as running:
            client = await running.ask(request("/held"))
            await running.app.running.wait()
            client.hang_up()
            await until(lambda: not any(running.state.connections))
            await asyncio.sleep(0.01)
            running.app.proceed.set()
            await until(lambda: bool(running.app.taken))

            assert running.app.taken == [False]
            assert running.app.connections.empty()

    @on_uvloop
    async def test_server_that_stops_ends_what_waits(self) -> None:
        """What runs is counted by uvicorn, and cancelled with a word of its own."""
        async with serving() as running:
            await running.ask(request("/held"))
            await until(lambda: bool(running.state.tasks))
            for task in running.state.tasks:
                task.cancel(msg="Task cancelled, timeout graceful shutdown exceeded")

            await until(lambda: not running.state.tasks)
            assert running.app.taken == []

    @on_uvloop
    async def test_application_is_told_of_a_client_that_left(self) -> None:
        """The ASGI specification, ``websocket.disconnect``: 1006 without a close frame."""
        async with serving() as running:
            client = await running.ask(request("/waits"))
            await running.app.running.wait()
            client.hang_up()
            await until(lambda: bool(running.app.gone))

            assert running.app.gone == [{"type": "websocket.disconnect", "code": 1006}]


class TestEarlyData:
    """Bytes behind the head, which uvicorn drops."""

    @on_uvloop
    async def test_frames_in_the_segment_of_the_head_are_delivered(self) -> None:
        """A client that knows the answer need not wait for it."""
        async with serving() as running:
            _, recorder = await running.open(masked(TEXT, b"one"), masked(TEXT, b"two"))

            assert await recorder.until("text", 2) == [b"one", b"two"]

    @on_uvloop
    async def test_frames_during_the_handshake_are_delivered_in_order(self) -> None:
        """Also one that is cut in the middle."""
        async with serving() as running:
            last = masked(TEXT, b"three")
            client = await running.ask(request("/held"), masked(TEXT, b"one"))
            await running.app.running.wait()
            client.send(masked(TEXT, b"two"), last[:5])
            await asyncio.sleep(0.01)
            running.app.proceed.set()
            await client.upgrade()
            client.send(last[5:])
            recorder = await running.app.connections.get()

            assert await recorder.until("text", 3) == [b"one", b"two", b"three"]

    @on_uvloop
    async def test_fault_in_the_segment_of_the_head_is_answered(self) -> None:
        """After the 101."""
        async with serving() as running:
            client, recorder = await running.open(frame(TEXT, b"not masked"))

            assert await client.closed() == 1002
            assert recorder.all("failed") == [DisconnectCode.PROTOCOL_ERROR]

    @on_uvloop
    async def test_too_much_before_the_answer_is_refused(self) -> None:
        """Who is not known yet gets no memory."""
        async with serving() as running:
            client = await running.ask(request("/held"))
            await running.app.running.wait()
            client.send("x" * 17_000)

            assert (await client.refusal())[0] == 400
            running.app.proceed.set()
            await until(lambda: not running.state.tasks)
            assert running.app.connections.empty()


class TestMemory:
    """Nothing of the request survives in an open connection (design: 1.9 KiB an idle one)."""

    @on_uvloop
    async def test_handshake_dies_without_the_garbage_collector(self) -> None:
        """A storm of connections would otherwise leave a storm of garbage."""
        async with serving() as running:
            handshakes: weakref.WeakSet[Handshake] = weakref.WeakSet()
            gc.collect()
            gc.disable()
            try:
                client, recorder = await running.open()
                handshakes.update(
                    found for found in gc.get_objects() if isinstance(found, Handshake)
                )
                running.app.scopes.clear()
                await until(lambda: not running.state.tasks)
                await asyncio.sleep(0)
                left = len(handshakes), len(running.protocols)
            finally:
                gc.enable()

            assert left == (0, 0)
            client.send(masked(TEXT, b"a"))
            assert await recorder.until("text") == [b"a"]

    @on_uvloop
    async def test_refused_client_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither a task nor a deadline nor a protocol."""
        # pytest keeps each record, and a failure's holds all that called it.
        monkeypatch.setattr(server.logger, "propagate", False)
        async with serving() as running:
            for head in (
                request("/denied"),
                request("/raises"),
                request(method="POST"),
                "x\r\n\r\n",
            ):
                client = await running.ask(head)
                await client.refusal()
                await client.close()
            running.app.scopes.clear()
            await until(lambda: not running.state.connections)
            await until(lambda: not running.state.tasks)
            gc.collect()

            assert len(running.protocols) == 0
            assert len(running.state.__dict__["drawbridge_requests"]) == 0
            assert len(running.state.__dict__["drawbridge_lingering"]) == 0
