"""The door: who is let in, what the others are told, and that nobody is counted for ever."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect

from tests.ws_gateway import hmac_backend
from tests.ws_gateway.routes.front import ORIGIN, Front, Issuer, bearer, cookie
from ws_gateway import server
from ws_gateway.routes.websocket import PATH
from ws_gateway.server import TAKE_OVER


async def ask(session: ClientConnection, **command: object) -> dict[str, Any]:
    """Send a command, and return the reply."""
    await session.send(json.dumps({"id": 1} | command))
    reply: dict[str, Any] = json.loads(await session.recv())
    return reply


async def closed(session: ClientConnection) -> int:
    """Wait for the close frame, and return its code."""
    await session.wait_closed()
    assert session.close_code is not None
    return session.close_code


class TestRefusals:
    """Before the upgrade: an HTTP status, plain words, one line in the log."""

    @pytest.mark.parametrize(
        ("refused", "headers"),
        [
            ((400, "bad_request"), lambda i: [bearer(i.mint()), bearer(i.mint())]),
            ((401, "unauthorized"), lambda _: [bearer("x.y.z")]),
            ((401, "unauthorized"), lambda _: [("Authorization", "Bearer")]),
            ((401, "unauthorized"), lambda _: [("Authorization", "Basic c2VjcmV0")]),
            ((401, "unauthorized"), lambda i: [("Authorization", f"Bearer  {i.mint()}")]),
            ((401, "unauthorized"), lambda i: [bearer(i.expired())]),
            ((401, "unauthorized"), lambda i: [bearer(i.mint(aud="other"))]),
            ((401, "unauthorized"), lambda i: [bearer(i.mint(kid="other"))]),
            ((403, "forbidden"), lambda i: [bearer(i.mint(scope="introspect"))]),
            ((403, "forbidden"), lambda i: [bearer(i.mint()), ("Origin", "https://evil.example")]),
            ((403, "forbidden"), lambda i: [cookie(i.mint()), ("Origin", "null")]),
        ],
    )
    async def test_bad_credential_is_refused_at_the_door(
        self,
        front: Front,
        issuer: Issuer,
        caplog: pytest.LogCaptureFixture,
        refused: tuple[int, str],
        headers: Callable[[Issuer], list[tuple[str, str]]],
    ) -> None:
        """Design, "The token at the handshake"; W1, W2."""
        caplog.set_level(logging.INFO)
        status, result = refused
        sent = headers(issuer)
        response = await front.refusal(*sent)

        assert response.status_code == status
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.body
        assert ("WWW-Authenticate" in response.headers) == (
            status == 401 or b"scope" in response.body
        )
        assert front.outcome(result) == 1
        self.check_log(caplog, status, [value for _, value in sent])
        assert front.handshakes() == 0

    @pytest.mark.parametrize(
        ("status", "offered"),
        [
            (400, ["centrifuge-json", "bearer."]),
            (400, ["centrifuge-json", "bearer.a", "bearer.b"]),
            (400, ["bearer.a"]),
            (400, ["graphql-ws"]),
            (401, ["centrifuge-json", "bearer.x.y.z"]),
        ],
    )
    async def test_bad_subprotocol_is_refused(
        self, front: Front, caplog: pytest.LogCaptureFixture, status: int, offered: list[str]
    ) -> None:
        """W6; nothing of the offer is in the answer."""
        caplog.set_level(logging.INFO)
        response = await front.refusal(subprotocols=offered)

        assert response.status_code == status
        assert "Sec-WebSocket-Protocol" not in response.headers
        self.check_log(caplog, status, ["bearer."])

    async def test_header_and_subprotocol_together_are_refused(
        self, front: Front, issuer: Issuer
    ) -> None:
        """RFC 6750 section 2: one method only, although both are good."""
        offered = ["centrifuge-json", f"bearer.{issuer.mint()}"]
        response = await front.refusal(bearer(issuer.mint()), subprotocols=offered)

        assert response.status_code == 400

    async def test_token_in_the_url_is_refused(
        self, front: Front, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """W4; and it is in no log."""
        caplog.set_level(logging.DEBUG)
        token = issuer.mint()
        response = await front.refusal(path=f"{PATH}?access_token={token}")

        assert response.status_code == 400
        records = [record for record in caplog.records if record.name.startswith("ws_gateway")]
        assert records
        assert not [record for record in records if token in str(record.__dict__)]

    @pytest.mark.parametrize(
        "path",
        [
            "/chat",
            "/connection",
            f"{PATH}/",
            "/connection/%2e/websocket",
            f"/{PATH}",
            "/docs",
            "/%ff",
        ],
    )
    async def test_other_paths_are_not_found(self, front: Front, path: str) -> None:
        """W30: 404 in words, for WebSockets as for requests."""
        response = await front.refusal(path=path)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as client:
            plain = await client.get(path)

        assert response.status_code == plain.status_code == 404
        assert response.body == plain.content == b"Not Found"

    async def test_request_without_upgrade_is_told_what_is_missing(self, front: Front) -> None:
        """RFC 9110 section 15.5.22: 426 with Upgrade."""
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as client:
            response = await client.get(PATH)
            post = await client.post(PATH)

        assert response.status_code == 426
        assert response.headers["Upgrade"] == "websocket"
        assert post.status_code == 405

    async def test_unknown_key_of_an_unreachable_issuer_is_503(
        self, make_front: Callable[..., Awaitable[Front]], issuer: Issuer
    ) -> None:
        """Nothing is said about the token, which may be good."""
        issuer.up = False
        front = await make_front()
        response = await front.refusal(bearer(issuer.mint()))

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert front.outcome("over_capacity") == 1

    async def test_full_gateway_is_503(
        self, make_front: Callable[..., Awaitable[Front]], issuer: Issuer
    ) -> None:
        """And not ready, until somebody leaves."""
        front = await make_front(max_connections=1)
        session = await front.connect(bearer(issuer.mint()))
        response = await front.refusal(bearer(issuer.mint("bob")))
        room = front.gateway.conditions()["room"]
        await session.close()

        assert (response.status_code, room) == (503, False)
        assert int(response.headers["Retry-After"]) > 0
        assert front.outcome("over_capacity") == 1
        await (await front.connect(bearer(issuer.mint("bob")))).close()

    async def test_handshakes_are_timed_whatever_their_answer(
        self, front: Front, issuer: Issuer
    ) -> None:
        """From the head of the request."""
        await (await front.connect(bearer(issuer.mint()))).close()
        await front.refusal(bearer("x.y.z"))

        value = front.gateway.metrics.registry.get_sample_value
        assert value("gateway_handshake_duration_seconds_count") == 2
        assert (value("gateway_handshake_duration_seconds_sum") or 0) > 0

    async def test_draining_gateway_is_503(self, front: Front, issuer: Issuer) -> None:
        """Design section 3; the client comes back elsewhere."""
        await front.gateway.node.drain(0)
        response = await front.refusal(bearer(issuer.mint()))

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0

    async def test_gateway_without_its_broker_is_503(self, front: Front, issuer: Issuer) -> None:
        """Design section 3: not ready, until the broker is back."""
        await front.gateway.node.broker.stop()
        response = await front.refusal(bearer(issuer.mint()))
        await front.gateway.node.broker.start(front.gateway.node.on_publication)

        assert response.status_code == 503
        session = await front.connect(bearer(issuer.mint()))
        await session.close()

    def check_log(self, caplog: pytest.LogCaptureFixture, status: int, secrets: list[str]) -> None:
        """Find one line, with the status and without what the client sent."""
        (record,) = [found for found in caplog.records if found.name.startswith("ws_gateway")]
        fields = record.__dict__
        assert record.getMessage() == "handshake refused"
        assert fields["status"] == status
        assert fields["address"] == "127.0.0.1"
        for secret in secrets:
            if len(secret) > len("Bearer"):
                assert secret.removeprefix("Bearer ") not in str(fields)

    async def test_reason_is_logged_but_not_told(
        self, front: Front, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Operators see why; clients all hear the same."""
        caplog.set_level(logging.INFO)
        expired = await front.refusal(bearer(issuer.expired()))
        forged = await front.refusal(bearer(issuer.mint()[:-4] + "AAAA"))

        records = [found for found in caplog.records if found.name.startswith("ws_gateway")]
        assert [record.__dict__["reason"] for record in records] == ["expired", "signature"]
        assert expired.body == forged.body


class TestUnauthenticated:
    """Sockets that have not said who they are are bounded, and counted exactly (W26)."""

    async def test_address_with_too_many_is_told_to_wait(
        self, make_front: Callable[..., Awaitable[Front]], issuer: Issuer
    ) -> None:
        """429; who shows a token at the door is not concerned."""
        front = await make_front(max_unauthenticated_per_address=2)
        guests = [await front.connect() for _ in range(2)]
        response = await front.refusal()
        known = await front.connect(bearer(issuer.mint()))

        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) > 0
        assert front.outcome("rate_limited") == 1
        assert front.handshakes() == 2
        for session in (*guests, known):
            await session.close()
        await front.empty()

    async def test_clients_behind_a_trusted_proxy_are_told_apart(
        self, make_front: Callable[..., Awaitable[Front]]
    ) -> None:
        """Or one address, the proxy's, would stand for everybody."""
        front = await make_front(
            max_unauthenticated_per_address=1, trusted_proxies=("127.0.0.0/8",)
        )
        first = await front.connect(("X-Forwarded-For", "203.0.113.1"))
        second = await front.connect(("X-Forwarded-For", "203.0.113.2"))
        again = await front.refusal(("X-Forwarded-For", "6.6.6.6, 203.0.113.1"))

        assert again.status_code == 429
        for session in (first, second):
            await session.close()
        await front.empty()

    async def test_a_stranger_cannot_choose_an_address(
        self, make_front: Callable[..., Awaitable[Front]]
    ) -> None:
        """Anybody can send the header; by default nobody is believed."""
        front = await make_front(max_unauthenticated_per_address=1)
        guest = await front.connect(("X-Forwarded-For", "203.0.113.1"))
        response = await front.refusal(("X-Forwarded-For", "203.0.113.2"))
        await guest.close()
        await front.empty()

        assert response.status_code == 429

    async def test_full_process_is_503(self, make_front: Callable[..., Awaitable[Front]]) -> None:
        """And free again when one has gone."""
        front = await make_front(max_unauthenticated=1)
        guest = await front.connect()
        response = await front.refusal()
        await guest.close()
        await front.empty()

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        await (await front.connect()).close()

    async def test_who_connects_is_no_longer_counted(self, front: Front, issuer: Issuer) -> None:
        """The connection goes on."""
        async with await front.connect() as session:
            assert front.handshakes() == 1
            reply = await ask(session, connect={"token": issuer.mint()})

            assert "connect" in reply
            assert front.handshakes() == 0

    async def test_who_fails_to_connect_is_no_longer_counted(self, front: Front) -> None:
        """3500: closed by the gateway."""
        async with await front.connect() as session:
            await session.send(json.dumps({"id": 1, "connect": {"token": "x.y.z"}}))

            assert await closed(session) == 3500
            await front.empty()

    async def test_who_is_answered_an_error_is_still_counted(
        self, front: Front, issuer: Issuer
    ) -> None:
        """It has time to come with a better token, and holds a socket until then."""
        async with await front.connect() as session:
            reply = await ask(session, connect={"token": issuer.expired()})

            assert reply["error"]["code"] == 109
            assert front.handshakes() == 1
        await front.empty()

    async def test_who_vanishes_is_no_longer_counted(self, front: Front) -> None:
        """Without a close frame."""
        session = await front.connect()
        session.transport.abort()

        await front.empty()

    async def test_who_says_nothing_in_time_is_no_longer_counted(
        self, make_front: Callable[..., Awaitable[Front]]
    ) -> None:
        """3502."""
        front = await make_front(connect_timeout_seconds=0.01)
        session = await front.connect()

        assert await closed(session) == 3502
        await front.empty()

    async def test_who_is_drained_is_no_longer_counted(self, front: Front) -> None:
        """3001."""
        session = await front.connect()
        await front.gateway.node.drain(0)

        assert await closed(session) == 3001
        await front.empty()

    async def test_bad_cookie_counts_as_none(self, front: Front) -> None:
        """The socket opens, and its owner is not known."""
        async with await front.connect(cookie("x.y.z"), ORIGIN):
            assert front.handshakes() == 1
        await front.empty()

    @pytest.mark.parametrize(
        ("how", "error"),
        [
            pytest.param({TAKE_OVER: lambda *_: False}, None, id="gone before"),
            pytest.param({TAKE_OVER: lambda *_: 1 / 0}, ZeroDivisionError, id="failing"),
            pytest.param({}, ConnectionResetError, id="gone before the accept"),
        ],
    )
    async def test_who_is_lost_on_the_way_in_is_not_counted(
        self, front: Front, how: dict[str, Any], error: type[Exception] | None
    ) -> None:
        """Before there is a connection that could say so."""
        key = base64.b64encode(b"x" * 16)
        scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "path": PATH,
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"a"), (b"sec-websocket-key", key)],
            "subprotocols": [],
            "client": ("192.0.2.1", 1),
            "state": {},
            "extensions": how,
        }

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(_message: MutableMapping[str, Any]) -> None:
            raise ConnectionResetError

        (outcome,) = await asyncio.gather(front.app(scope, receive, send), return_exceptions=True)

        assert isinstance(outcome, error or type(None))
        assert front.handshakes() == 0
        assert front.outcome("ok") == 0


class TestAdmission:
    """Which credential counts, and what ``connect`` may add to it."""

    async def test_header_is_enough(self, front: Front, issuer: Issuer) -> None:
        """``connect`` needs no token, and has no expiry to refresh."""
        async with await front.connect(bearer(issuer.mint())) as session:
            assert front.handshakes() == 0
            reply = await ask(session, connect={})

            assert list(reply["connect"]["subs"]) == ["dm:#alice"]
            assert "expires" not in reply["connect"]
        assert front.outcome("ok") == 1

    async def test_subprotocol_is_enough(self, front: Front, issuer: Issuer) -> None:
        """Answered with the real subprotocol, never with the token."""
        offered = ["centrifuge-json", f"bearer.{issuer.mint()}"]
        async with await front.connect(subprotocols=offered) as session:
            assert session.subprotocol == "centrifuge-json"
            assert "connect" in await ask(session, connect={})

    async def test_cookie_of_an_allowed_page_is_enough(self, front: Front, issuer: Issuer) -> None:
        """As a browser sends it."""
        async with await front.connect(cookie(issuer.mint()), ORIGIN) as session:
            reply = await ask(session, connect={})

            assert list(reply["connect"]["subs"]) == ["dm:#alice"]

    async def test_cookie_without_an_origin_counts_as_none(
        self, front: Front, issuer: Issuer
    ) -> None:
        """Nothing proves that no foreign page sent it."""
        async with await front.connect(cookie(issuer.mint())) as session:
            reply = await ask(session, connect={})

            assert reply["error"]["code"] == 109

    @pytest.mark.parametrize("token", ["", "x.y.z"])
    async def test_without_a_good_credential_connect_is_answered_109(
        self, front: Front, token: str
    ) -> None:
        """So that an SDK calls getToken, and a page refreshes its session."""
        headers = [cookie(token), ORIGIN] if token else []
        async with await front.connect(*headers) as session:
            reply = await ask(session, connect={})

            assert reply["error"]["code"] == 109

    async def test_header_beats_the_cookie(self, front: Front, issuer: Issuer) -> None:
        """Either beats it, also a bad one."""
        async with await front.connect(
            bearer(issuer.mint("bob")), cookie(issuer.mint()), ORIGIN
        ) as session:
            reply = await ask(session, connect={})

        assert list(reply["connect"]["subs"]) == ["dm:#bob"]
        response = await front.refusal(bearer("x.y.z"), cookie(issuer.mint()), ORIGIN)
        assert response.status_code == 401

    async def test_token_in_connect_beats_the_cookie(self, front: Front, issuer: Issuer) -> None:
        """It is verified as if there were none."""
        async with await front.connect(cookie(issuer.mint()), ORIGIN) as session:
            reply = await ask(session, connect={"token": issuer.mint("bob")})

            assert list(reply["connect"]["subs"]) == ["dm:#bob"]
            assert reply["connect"]["expires"] is True

    @pytest.mark.parametrize("place", ["header", "subprotocol", "query"])
    async def test_token_in_connect_after_one_at_the_door_is_3501(
        self, make_front: Callable[..., Awaitable[Front]], issuer: Issuer, place: str
    ) -> None:
        """One client says who it is once."""
        front = await make_front(query_token=True)
        token = issuer.mint()
        match place:
            case "header":
                session = await front.connect(bearer(token))
            case "subprotocol":
                session = await front.connect(subprotocols=["centrifuge-json", f"bearer.{token}"])
            case _:
                session = await front.connect(path=f"{PATH}?access_token={token}")
        await session.send(json.dumps({"id": 1, "connect": {"token": token}}))

        assert await closed(session) == 3501

    @pytest.mark.parametrize(
        ("offered", "path", "answered"),
        [
            (["centrifuge-protobuf"], PATH, "centrifuge-protobuf"),
            (["x", "centrifuge-protobuf"], PATH, "centrifuge-protobuf"),
            (None, f"{PATH}?cf_protocol=protobuf", None),
            (None, f"{PATH}?format=protobuf", None),
        ],
    )
    async def test_protobuf_is_spoken_to_who_asks_for_it(
        self,
        front: Front,
        issuer: Issuer,
        *,
        offered: list[str] | None,
        path: str,
        answered: str | None,
    ) -> None:
        """By subprotocol, which is answered, or in the URL (protocol section 1)."""
        token = issuer.mint()
        async with await front.connect(bearer(token), path=path, subprotocols=offered) as session:
            assert session.subprotocol == answered
            await session.send(b"\x04\x08\x01\x22\x00")

            reply = await session.recv()

        assert isinstance(reply, bytes)
        assert reply[1:4] == b"\x08\x01\x2a"

    async def test_no_subprotocol_means_json(self, front: Front, issuer: Issuer) -> None:
        """And none is answered (RFC 6455 section 4.2.2)."""
        async with await front.connect(bearer(issuer.mint())) as session:
            assert session.subprotocol is None
            await session.send(b"{}")

            assert await closed(session) == 3501

    async def test_client_may_ask_for_websocket_pings(self, front: Front, issuer: Issuer) -> None:
        """``cf_ws_frame_ping_pong``: then the protocol's own are not announced."""
        async with await front.connect(
            bearer(issuer.mint()), path=f"{PATH}?cf_ws_frame_ping_pong=true"
        ) as session:
            reply = await ask(session, connect={})

        assert "ping" not in reply["connect"]
        async with await front.connect(bearer(issuer.mint())) as session:
            reply = await ask(session, connect={})
        assert reply["connect"]["ping"] == 25

    async def test_message_over_the_limit_is_1009(
        self,
        make_front: Callable[..., Awaitable[Front]],
        issuer: Issuer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """``GATEWAY_MAX_MESSAGE_BYTES``."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)
        front = await make_front(max_message_bytes=1024)
        session = await front.connect(bearer(issuer.mint()))
        await session.send("x" * 1025)

        assert await closed(session) == 1009


class TestCompression:
    """``GATEWAY_COMPRESSION``: permessage-deflate, which browsers and this client always offer."""

    TEXT = "word " * 400

    @pytest.fixture
    async def compressing(
        self, make_front: Callable[..., Awaitable[Front]], tmp_path: Path
    ) -> Front:
        """A gateway that agrees to it."""
        channels = tmp_path / "open.toml"
        channels.write_text(
            "[without_namespace]\n"
            "allow_subscribe_for_client = true\nallow_publish_for_client = true\n"
        )
        return await make_front(compression=True, channels_file=channels)

    async def test_it_is_off_unless_switched_on(self, front: Front, issuer: Issuer) -> None:
        """It costs time, and memory in clients."""
        async with await front.connect(bearer(issuer.mint())) as session:
            assert session.response is not None
            assert "Sec-WebSocket-Extensions" not in session.response.headers

    async def test_a_publication_is_compressed_once_for_all(
        self, compressing: Front, issuer: Issuer
    ) -> None:
        """And read by each; who does not want it gets the same as it is."""
        node = compressing.gateway.node
        async with AsyncExitStack() as stack:
            sessions = [
                await stack.enter_async_context(
                    await connect(
                        compressing.url(),
                        additional_headers=[bearer(issuer.mint())],
                        compression=compression,
                        proxy=None,
                    )
                )
                for compression in ("deflate", "deflate", None)
            ]
            for session in sessions:
                await ask(session, connect={})
                await ask(session, id=2, subscribe={"channel": "news"})
            before = node.deflater.bytes_in
            publish = {"id": 3, "publish": {"channel": "news", "data": self.TEXT}}
            await sessions[0].send(json.dumps(publish))
            heard = [json.loads(await session.recv()) for session in sessions[1:]]
            extensions = [
                session.response.headers.get("Sec-WebSocket-Extensions")
                for session in sessions
                if session.response is not None
            ]

        assert [message["push"]["pub"]["data"] for message in heard] == [self.TEXT] * 2
        assert extensions[1:] == [
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            None,
        ]
        assert 0 < node.deflater.bytes_in - before < 2 * len(self.TEXT)
        assert node.deflater.bytes_out < node.deflater.bytes_in / 5

    async def test_a_bomb_is_too_big(
        self, compressing: Front, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """W12: by what it is inflated to."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)
        session = await compressing.connect(bearer(issuer.mint()))
        await session.send("A" * 10_000_000)

        assert await closed(session) == 1009

    @pytest.mark.parametrize("offer", ["permessage-deflate; server_max_window_bits=8", "foo; bar"])
    async def test_an_offer_that_cannot_be_met_is_passed_over(
        self, compressing: Front, issuer: Issuer, offer: str
    ) -> None:
        """W29: the socket opens without."""
        headers = [bearer(issuer.mint()), ("Sec-WebSocket-Extensions", offer)]
        async with await connect(
            compressing.url(), additional_headers=headers, compression=None, proxy=None
        ) as session:
            assert session.response is not None
            assert "Sec-WebSocket-Extensions" not in session.response.headers
            assert "connect" in await ask(session, connect={})


class TestGuests:
    """``allow_anonymous_connect`` in the channels file."""

    @pytest.fixture
    def channels(self, tmp_path: Path) -> Path:
        """A file that allows guests."""
        path = tmp_path / "guests.toml"
        path.write_text("[client]\nallow_anonymous_connect = true\n")
        return path

    async def test_socket_without_a_credential_is_a_guests(
        self, make_front: Callable[..., Awaitable[Front]], channels: Path
    ) -> None:
        """Once it says ``connect``; it counts among the unauthenticated until it has gone."""
        front = await make_front(channels_file=channels)

        async with await front.connect() as session:
            assert "client" in (await ask(session, connect={}))["connect"]
            assert front.handshakes() == 1
        await front.empty()

    @pytest.mark.parametrize("headers", [[cookie("x.y.z"), ORIGIN], [cookie("x.y.z")]])
    async def test_bad_cookie_is_never_a_guests(
        self,
        make_front: Callable[..., Awaitable[Front]],
        channels: Path,
        headers: list[tuple[str, str]],
    ) -> None:
        """A page is told to refresh its log-in."""
        front = await make_front(channels_file=channels)

        async with await front.connect(*headers) as session:
            assert (await ask(session, connect={}))["error"]["code"] == 109
        await front.empty()

    @pytest.mark.parametrize("allowed", [True, False])
    async def test_token_without_a_user_is_a_guests(
        self, make_front: Callable[..., Awaitable[Front]], channels: Path, allowed: bool
    ) -> None:
        """403 where guests are not allowed."""
        settings: dict[str, Any] = {"channels_file": channels} if allowed else {}
        front = await make_front(
            issuers=(), hmac_secret=SecretStr(hmac_backend.SECRET.decode()), **settings
        )
        token = bearer(hmac_backend.sign({"iat": 1}))

        if allowed:
            async with await front.connect(token) as session:
                assert "connect" in await ask(session, connect={})
            await front.empty()
        else:
            assert (await front.refusal(token)).status_code == 403
            assert front.outcome("forbidden") == 1
