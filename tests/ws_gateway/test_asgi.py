"""Plain ASGI carries the same conversation as our own protocol, under any server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jose import jwk, jwt
from jose.backends.base import Key
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ws_gateway import asgi, verifier
from ws_gateway.app import create_standalone_app
from ws_gateway.codes import DisconnectCode
from ws_gateway.frames import BINARY, PING, TEXT, frame
from ws_gateway.settings import Settings
from ws_gateway.transport import Receiver, Transport

PATH = "/connection/websocket"
PATIENCE = 30.0
"""Only a failing test waits for so long."""


class Recorder:
    """A connection that notes what it is told."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.events: list[tuple[str, Any]] = []
        self.bug: Exception | None = None

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """See Receiver."""
        if self.bug is not None:
            raise self.bug
        self.events.append(("binary" if binary else "text", payload))

    def seen(self) -> None:
        """See Receiver."""
        self.events.append(("seen", None))

    def stalled(self) -> None:
        """See Receiver."""
        self.events.append(("stalled", None))

    def drained(self) -> None:
        """See Receiver."""
        self.events.append(("drained", None))

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """See Receiver."""
        self.events.append(("failed", (code, detail)))

    def lost(self, code: int) -> None:
        """See Receiver."""
        self.events.append(("lost", code))


class Line:
    """An ASGI server with one accepted WebSocket, whose peer may stop reading."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.error: Exception | None = None
        self.recorder: Recorder | None = None
        self.task: asyncio.Task[None] | None = None

    async def open(self) -> Recorder:
        """Accept, and run a connection."""
        websocket = WebSocket({"type": "websocket", "headers": []}, self.incoming.get, self._send)
        self.incoming.put_nowait({"type": "websocket.connect"})
        await websocket.accept()
        self.sent.clear()
        self.task = asyncio.create_task(asgi.run(websocket, self._connect))
        await settle()
        assert self.recorder is not None
        return self.recorder

    def _connect(self, transport: Transport) -> Receiver:
        self.recorder = Recorder(transport)
        return self.recorder

    async def _send(self, message: Any) -> None:  # noqa: ANN401 - an ASGI message
        await self.reads.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(message)

    async def say(self, **message: Any) -> None:  # noqa: ANN401 - an ASGI message
        """Let the peer send a message, or leave."""
        kind = "websocket.disconnect" if "code" in message else "websocket.receive"
        self.incoming.put_nowait({"type": kind} | message)
        await settle()

    async def ended(self) -> None:
        """Wait for the end of the connection."""
        assert self.task is not None
        await asyncio.wait_for(self.task, PATIENCE)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def settle() -> None:
    """Let whatever is ready run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A server; what a failing test leaves running is ended."""
    line = Line()
    yield line
    if line.task is not None and not line.task.done():
        line.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await line.task


class TestTransport:
    """The promises of Transport and Receiver, kept without frames."""

    async def test_frames_become_messages(self, line: Line) -> None:
        """The writer joins frames; ASGI wants them one by one."""
        recorder = await line.open()
        recorder.transport.write(frame(TEXT, "größer".encode()) + frame(BINARY, b"\xff" * 200))
        await settle()

        assert [message.get("text", message.get("bytes")) for message in line.sent] == [
            "größer",
            b"\xff" * 200,
        ]
        assert recorder.transport.buffered() == 0

    async def test_control_frames_are_left_out(self, line: Line) -> None:
        """There is no ASGI message for a ping."""
        recorder = await line.open()
        assert recorder.transport.frame_pings is False
        recorder.transport.write(frame(PING, b""))
        await settle()

        assert line.sent == []

    async def test_messages_are_received(self, line: Line) -> None:
        """As bytes, whatever they are."""
        recorder = await line.open()
        await line.say(text="größer")
        await line.say(bytes=b"\xff", text=None)

        assert recorder.events == [("text", "größer".encode()), ("binary", b"\xff")]

    async def test_what_utf8_cannot_say_is_replaced(self, line: Line) -> None:
        """W19: a string of a careless server must not end the connection's task."""
        recorder = await line.open()
        await line.say(text="\ud800")

        assert recorder.events == [("text", b"?")]

    @pytest.mark.parametrize(("said", "told"), [(1000, 1000), (4000, 4000), (None, 1006)])
    async def test_peer_that_leaves_is_lost(self, line: Line, said: int, told: int) -> None:
        """Once, with its code."""
        recorder = await line.open()
        await line.say(code=said)
        await line.ended()

        assert recorder.events == [("lost", told)]

    async def test_close_comes_behind_what_was_written(self, line: Line) -> None:
        """And only the first close counts."""
        recorder = await line.open()
        recorder.transport.write(frame(TEXT, b"last"))
        recorder.transport.close(3001, "shutdown")
        recorder.transport.close(3005, "ignored")
        await line.ended()

        assert line.sent == [
            {"type": "websocket.send", "text": "last"},
            {"type": "websocket.close", "code": 3001, "reason": "shutdown"},
        ]
        assert recorder.events == [("lost", 1006)]

    async def test_abort_drops_what_was_written(self, line: Line) -> None:
        """No close message either."""
        recorder = await line.open()
        recorder.transport.write(frame(TEXT, b"never"))
        recorder.transport.abort()
        await line.ended()

        assert line.sent == []
        assert recorder.events == [("lost", 1006)]

    async def test_abort_does_not_wait_for_a_peer_that_does_not_read(self, line: Line) -> None:
        """That is what it is for."""
        recorder = await line.open()
        line.reads.clear()
        recorder.transport.write(frame(TEXT, b"taken by nobody"))
        await settle()
        recorder.transport.abort()
        await line.ended()

        assert line.sent == []
        assert recorder.events == [("lost", 1006)]

    async def test_abort_while_the_connection_is_made_ends_it(self, line: Line) -> None:
        """The first moment counts too."""

        def abort_at_once(transport: Transport) -> Receiver:
            transport.abort()
            return Recorder(transport)

        await line.open()
        websocket = WebSocket({"type": "websocket", "headers": []}, line.incoming.get, line._send)
        await asyncio.wait_for(asgi.run(websocket, abort_at_once), PATIENCE)

        assert line.sent == []

    async def test_stall_and_its_end_are_told(self, line: Line) -> None:
        """Each once, at 64 KiB and at nothing."""
        recorder = await line.open()
        line.reads.clear()
        for _ in range(8):
            recorder.transport.write(frame(BINARY, b"x" * 16_384))
        assert recorder.transport.buffered() == 8 * 16_384
        line.reads.set()
        await settle()

        assert recorder.events == [("stalled", None), ("drained", None)]
        assert len(line.sent) == 8

    async def test_reading_can_be_paused(self, line: Line) -> None:
        """The message that was awaited already may still come."""
        recorder = await line.open()
        recorder.transport.pause_reading()
        await line.say(text="a")
        await line.say(text="b")
        assert recorder.events == [("text", b"a")]
        recorder.transport.resume_reading()
        await settle()

        assert recorder.events == [("text", b"a"), ("text", b"b")]

    @pytest.mark.parametrize("end", ["close", "abort"])
    async def test_paused_connection_can_be_ended(self, line: Line, end: str) -> None:
        """Nothing waits for a reader that will not come back."""
        recorder = await line.open()
        recorder.transport.pause_reading()
        await line.say(text="a")
        if end == "close":
            recorder.transport.close(3001, "shutdown")
        else:
            recorder.transport.abort()
        await line.ended()

        assert recorder.events[-1] == ("lost", 1006)

    @pytest.mark.parametrize("error", [ConnectionResetError(), WebSocketDisconnect(1006)])
    async def test_peer_that_vanishes_while_we_send_is_lost(
        self, line: Line, error: Exception
    ) -> None:
        """Servers differ in how they tell it, and none of it is an error of ours."""
        recorder = await line.open()
        line.error = error
        recorder.transport.write(frame(TEXT, b"a"))
        await line.ended()

        assert recorder.events == [("lost", 1006)]

    async def test_bug_is_not_swallowed(self, line: Line) -> None:
        """It reaches the server's log, and the connection is cleaned up."""
        recorder = await line.open()
        recorder.bug = ZeroDivisionError()
        await line.say(text="a")

        with pytest.raises(ZeroDivisionError):
            await line.ended()

        assert recorder.events == [("lost", 1006)]

    async def test_bug_of_the_server_is_not_swallowed(self, line: Line) -> None:
        """Only what a vanished peer looks like is."""
        recorder = await line.open()
        line.error = ZeroDivisionError()
        recorder.transport.write(frame(TEXT, b"a"))

        with pytest.raises(ZeroDivisionError):
            await line.ended()

        assert recorder.events == [("lost", 1006)]

    async def test_connection_cancelled_at_its_end_is_lost(self, line: Line) -> None:
        """Frameworks cancel by a message of their own, and must recognise it."""
        recorder = await line.open()
        assert line.task is not None
        line.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        while not recorder.events:  # noqa: ASYNC110
            await asyncio.sleep(0)
        line.task.cancel("by the framework")

        with pytest.raises(asyncio.CancelledError, match="by the framework"):
            await line.task

        assert recorder.events == [("lost", 1000)]
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_cancelled_connection_is_lost(self, line: Line) -> None:
        """As a server does when it stops."""
        recorder = await line.open()
        assert line.task is not None
        line.task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await line.ended()

        assert recorder.events == [("lost", 1006)]
        assert asyncio.all_tasks() == {asyncio.current_task()}


KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
CHANNELS = """
[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true
"""


def mint(user: str, **changes: object) -> str:
    """Return a token of the embedded issuer."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "https://localhost:8443",
        "aud": ["drawbridge"],
        "exp": now + 600,
        "iat": now,
        "jti": user,
        "sub": user,
        "client_id": "chat",
        "scope": "connect",
    }
    return jwt.encode(
        claims | changes, KEY, algorithm="ES256", headers={"typ": "at+jwt", "kid": "k"}
    )


def header(user: str) -> dict[str, str]:
    """Return the header that carries a user's token."""
    return {"Authorization": f"Bearer {mint(user)}"}


@pytest.fixture
def make_app(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., FastAPI]:
    """A factory of gateways for any ASGI server, with these settings."""

    async def publish(_url: str) -> bytes:
        return json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()

    monkeypatch.setattr(verifier, "fetch_document", publish)
    channels = tmp_path_factory.mktemp("channels") / "channels.toml"
    channels.write_text(CHANNELS)

    def make(**settings: Any) -> FastAPI:  # noqa: ANN401 - settings of all types
        return create_standalone_app(Settings(channels_file=channels, **settings))

    return make


@pytest.fixture
def client(make_app: Callable[..., FastAPI]) -> Iterator[TestClient]:
    """The test client of a gateway."""
    with TestClient(make_app()) as client:
        yield client


def ask(session: WebSocketTestSession, *commands: object) -> list[Any]:
    """Send commands in one message, and return the replies of one message."""
    session.send_text("\n".join(map(json.dumps, commands)))
    return [json.loads(line) for line in session.receive_text().splitlines()]


class TestConversation:
    """What a session says does not depend on what carries it."""

    def test_users_talk(self, client: TestClient) -> None:
        """Connect by token, subscribe, publish; and the other one hears it."""
        with (
            client.websocket_connect(PATH) as alice,
            client.websocket_connect(PATH, headers=header("bob")) as bob,
        ):
            (connected,) = ask(alice, {"id": 1, "connect": {"token": mint("alice")}})
            assert connected["connect"]["ping"] == 25
            assert ask(alice, {"id": 2, "subscribe": {"channel": "lobby"}}) == [
                {"id": 2, "subscribe": {}}
            ]
            ask(bob, {"id": 1, "connect": {}})
            ask(bob, {"id": 2, "publish": {"channel": "lobby", "data": {"a": 1}}})
            push = json.loads(alice.receive_text())["push"]

        assert push["channel"] == "lobby"
        assert push["pub"]["data"] == {"a": 1}
        assert push["pub"]["info"]["user"] == "bob"

    def test_failed_command_is_answered(self, client: TestClient) -> None:
        """Error replies pass as they are."""
        with client.websocket_connect(PATH, headers=header("alice")) as session:
            ask(session, {"id": 1, "connect": {}})
            (reply,) = ask(session, {"id": 2, "subscribe": {"channel": "no:such"}})

        assert reply["error"]["code"] == 102

    def test_close_codes_arrive(self, client: TestClient) -> None:
        """With their reasons, without which SDKs misread them."""
        with client.websocket_connect(PATH) as session:
            session.send_text('{"id":1,"publish":{}}')
            message = session.receive()

        assert message == {"type": "websocket.close", "code": 3501, "reason": "bad request"}

    def test_binary_is_refused_in_json(self, client: TestClient) -> None:
        """The kind of a message is known here too."""
        with client.websocket_connect(PATH, headers=header("alice")) as session:
            session.send_bytes(b"{}")

            assert session.receive()["code"] == 3501

    def test_subprotocol_is_answered(self, client: TestClient) -> None:
        """Never the one that carries the token."""
        offered = ["centrifuge-json", f"bearer.{mint('alice')}"]
        with client.websocket_connect(PATH, subprotocols=offered) as session:
            assert session.accepted_subprotocol == "centrifuge-json"

    def test_protobuf_is_spoken_in_binary_messages(self, client: TestClient) -> None:
        """Each reply is one."""
        offered = ["centrifuge-protobuf", f"bearer.{mint('alice')}"]
        with client.websocket_connect(PATH, subprotocols=offered) as session:
            session.send_bytes(b"\x04\x08\x01\x22\x00\x04\x08\x02\x6a\x00")
            connected, failed = session.receive_bytes(), session.receive_bytes()

            assert connected[1:4] == b"\x08\x01\x2a"
            assert failed[1:4] == b"\x08\x02\x12"
            assert session.accepted_subprotocol == "centrifuge-protobuf"

    def test_drain_reaches_the_clients(self, make_app: Callable[..., FastAPI]) -> None:
        """When the application ends, its sockets are asked to come back."""
        with TestClient(make_app()) as client, client.websocket_connect(PATH) as session:
            ask(session, {"id": 1, "connect": {"token": mint("alice")}})
            app = client.app
            assert isinstance(app, FastAPI)
            assert client.portal is not None
            client.portal.call(app.state.gateway.node.drain, 0)

            assert session.receive()["code"] == 3001

    async def test_another_server_carries_it(self, make_app: Callable[..., FastAPI]) -> None:
        """The implementation that uvicorn takes by default knows nothing of ours."""
        config = uvicorn.Config(
            make_app(max_unauthenticated_per_address=1),
            port=0,
            ws="websockets-sansio",
            log_config=None,
        )
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}{PATH}"
            protocols = [Subprotocol("centrifuge-json")]
            async with connect(url, subprotocols=protocols) as session:
                await session.send(json.dumps({"id": 1, "connect": {"token": mint("alice")}}))
                reply = json.loads(await session.recv())
                async with connect(url) as other:  # the first one is known by now
                    await other.send("no JSON")
                    with pytest.raises(ConnectionClosed) as caught:
                        await other.recv()
        finally:
            await server.shutdown()

        assert session.subprotocol == "centrifuge-json"
        assert reply["connect"]["client"]
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 3501
