"""``python -m ws_gateway``, as an operator sees it: ports, signals, exit status, standard error."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jwt
from jose.backends.base import Key
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ws_gateway import __main__ as program, cli

PATIENCE = 60.0
"""Only a failing test waits for so long."""
KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any setting of ours, with ports of its own."""
    for name in os.environ:
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GATEWAY_BIND", "127.0.0.1:0")
    monkeypatch.setenv("GATEWAY_INTERNAL_BIND", "127.0.0.1:0")
    monkeypatch.setattr(sys, "argv", ["ws_gateway"])
    return monkeypatch


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


ENTRY = {"issuer": "https://a.example", "jwks_url": "https://a.example/k", "audience": "us"}


@pytest.mark.usefixtures("_logging_restored")
class TestRefusal:
    """What cannot work is one readable line, and status 2."""

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("GATEWAY_COLOUR", "red"),
            ("GATEWAY_PING_INTERVAL", "often"),
            ("GATEWAY_PONG_TIMEOUT", "60"),
            ("GATEWAY_BIND", "localhost"),
            ("GATEWAY_INTERNAL_BIND", "192.0.2.1:1"),
            ("GATEWAY_ORIGINS", "https://x/"),
            ("GATEWAY_ISSUERS", "https://a.example"),
            ("GATEWAY_ISSUERS", json.dumps([ENTRY | {"user_prefix": "client"}])),
            ("GATEWAY_ISSUERS", json.dumps([ENTRY, ENTRY | {"issuer": "https://b.example"}])),
            ("GATEWAY_CHANNELS_FILE", "/no/such/file.toml"),
            ("GATEWAY_HOOKS", "no_such_module:hooks"),
            ("GATEWAY_LOG_LEVEL", "LOUD"),
        ],
    )
    def test_wrong_setting_is_one_line_that_names_it(
        self,
        environment: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        variable: str,
        value: str,
    ) -> None:
        """No traceback; an operator reads it in a terminal or in a pod's log."""
        environment.setenv(variable, value)

        status = program.main()

        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert status == 2
        assert line.startswith(f"{variable}: ")
        assert output.out == ""

    @pytest.mark.parametrize("variable", ["GATEWAY_BIND", "GATEWAY_INTERNAL_BIND"])
    def test_busy_port_is_one_line_that_names_it(
        self,
        environment: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        variable: str,
    ) -> None:
        """And what was bound before it is closed again."""
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
            environment.setenv(variable, f"127.0.0.1:{port}")

            status = program.main()

        assert status == 2
        assert capsys.readouterr().err == (
            f"{variable}: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )

    def test_module_can_be_run(
        self, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """``-m ws_gateway`` exits with the status."""
        environment.setenv("GATEWAY_COLOUR", "red")
        environment.delitem(sys.modules, "ws_gateway.__main__")

        with pytest.raises(SystemExit) as caught:
            runpy.run_module("ws_gateway", run_name="__main__")

        assert caught.value.code == 2
        assert capsys.readouterr().err == "GATEWAY_COLOUR: unknown setting\n"


CHANNELS = """
[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_client = true
"""
# At 20 a second they take ten seconds, whatever the drain may take.
CROWD = 200


def mint() -> str:
    """Return a token of the issuer."""
    now = int(time.time())
    claims = {
        "iss": "https://issuer.example",
        "aud": ["drawbridge"],
        "exp": now + 600,
        "iat": now,
        "jti": base64.b32encode(b"token").decode(),
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect",
    }
    return jwt.encode(claims, KEY, algorithm="ES256", headers={"typ": "at+jwt", "kid": "k"})


async def publish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request with the issuer's key set."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
    writer.close()


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Program:
    """A gateway as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, public: int, internal: int) -> None:
        self.process = process
        self.public = public
        self.internal = f"http://127.0.0.1:{internal}"

    async def ready(self) -> None:
        """Wait until new sockets may come."""
        async with httpx2.AsyncClient(base_url=self.internal) as client, asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(httpx2.ConnectError):
                    if (await client.get("/health/ready")).status_code == 200:
                        return
                assert self.process.returncode is None
                await asyncio.sleep(0.02)

    async def connect(self) -> ClientConnection:
        """Open a connection that has connected."""
        session = await self.door()
        assert "connect" in await ask(session, id=1, connect={})
        return session

    def door(self) -> Awaitable[ClientConnection]:
        """Open a socket with a token in its handshake, which is all that it needs to stay."""
        return connect(
            f"ws://127.0.0.1:{self.public}/connection/websocket",
            additional_headers={"Authorization": f"Bearer {mint()}"},
            proxy=None,
            ping_interval=None,
        )

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        """Wait for its end; return the status and what it logged."""
        async with asyncio.timeout(PATIENCE):
            output, errors = await self.process.communicate()
        assert output == b""
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in errors.splitlines()]


@pytest.fixture
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Program]:
    """A gateway that is ready; its drain takes as many seconds as the parameter says."""
    public, internal = free_ports(2)
    issuer = await asyncio.start_server(publish, "127.0.0.1", 0)
    entry = {
        "issuer": "https://issuer.example",
        "jwks_url": f"http://127.0.0.1:{issuer.sockets[0].getsockname()[1]}/",
        "audience": "drawbridge",
    }
    channels = tmp_path / "channels.toml"
    channels.write_text(CHANNELS)
    settings = {
        "GATEWAY_BIND": f"127.0.0.1:{public}",
        "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
        "GATEWAY_ISSUERS": json.dumps([entry]),
        "GATEWAY_CHANNELS_FILE": str(channels),
        "GATEWAY_DRAIN_SECONDS": str(request.param),
        "GATEWAY_HTTP_STREAM": "1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ws_gateway",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(program.__file__).parents[1],
        env=kept | settings,
    )
    running = Program(process, public, internal)
    try:
        await running.ready()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        issuer.close()


async def closed(session: ClientConnection) -> int:
    """Wait for the close frame, and return its code."""
    with pytest.raises(ConnectionClosed) as caught:
        await session.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


async def ask(session: ClientConnection, **command: object) -> dict[str, Any]:
    """Send a command, and return what comes next."""
    await session.send(json.dumps(command))
    async with asyncio.timeout(PATIENCE):
        answer: dict[str, Any] = json.loads(await session.recv())
    return answer


def goodbyes(lines: list[dict[str, Any]]) -> tuple[list[int], float]:
    """Read from a log with which codes connections ended, and in how many seconds.

    The gateway's clock is asked: a test that is late sees those together that were told apart.
    """
    ends = [line for line in lines if line["event"] == "connection closed"]
    first, *_, last = (datetime.fromisoformat(line["time"]) for line in ends)
    return [line["code"] for line in ends], (last - first).total_seconds()


@pytest.mark.parametrize("running", [3600], indirect=True)
async def test_sigterm_says_goodbye_and_exits_cleanly(running: Program) -> None:
    """3001 to every socket, one after the other, status 0, and a log of JSON without a token."""
    sessions = [await running.connect() for _ in range(10)]
    running.process.send_signal(signal.SIGTERM)

    codes = [await closed(session) for session in sessions]

    status, lines = await running.ended()
    assert codes == [3001] * 10
    assert status == 0
    codes, seconds = goodbyes(lines)
    assert codes == [3001] * 10
    assert seconds > 0.3
    assert {line["level"] for line in lines} == {"INFO"}
    assert "eyJ" not in json.dumps(lines)


@pytest.mark.parametrize("running", [3600], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_streamed_connection_is_told_too(running: Program, number: signal.Signals) -> None:
    """Its response ends with the code, also in a hurry."""
    command = json.dumps({"id": 1, "connect": {"token": mint()}})
    async with (
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.public}", timeout=PATIENCE) as http,
        http.stream("POST", "/connection/http_stream", content=command) as response,
    ):
        lines = response.aiter_lines()
        assert "connect" in json.loads(await anext(lines))
        running.process.send_signal(number)
        told = [json.loads(line) async for line in lines]

    assert told[-1] == {"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}
    assert (await running.ended())[0] == 0


@pytest.mark.parametrize("running", [3600], indirect=True)
async def test_what_is_queued_comes_before_the_goodbye(running: Program) -> None:
    """Also to one that has not read for a while."""
    reader, writer = await running.connect(), await running.connect()
    await ask(reader, id=2, subscribe={"channel": "room:1"})
    for number in range(150):
        said = {"number": number, "filling": "x" * 4096}
        assert await ask(writer, id=3, publish={"channel": "room:1", "data": said}) == {
            "id": 3,
            "publish": {},
        }
    running.process.send_signal(signal.SIGTERM)
    assert await closed(writer) == 3001

    pushes: list[str] = []
    with contextlib.suppress(ConnectionClosed):
        async for message in reader:
            pushes += str(message).split("\n")

    heard = [json.loads(push)["push"]["pub"]["data"]["number"] for push in pushes]
    assert heard == list(range(150))
    assert reader.close_code == 3001
    assert (await running.ended())[0] == 0


@pytest.mark.parametrize("running", [3600], indirect=True)
async def test_a_second_sigterm_hurries(running: Program) -> None:
    """Until then all who come are sent elsewhere, and those who are there have time."""
    sessions = [await running.door() for _ in range(CROWD)]
    ends = [asyncio.create_task(session.wait_closed()) for session in sessions]
    running.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async with httpx2.AsyncClient(base_url=running.internal) as client:
        ready = await client.get("/health/ready")
    with pytest.raises(InvalidStatus) as refused:
        await running.door()
    running.process.send_signal(signal.SIGTERM)

    assert ready.status_code == 503
    assert ready.json()["conditions"]["not_draining"] is False
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["Retry-After"]) > 0
    await asyncio.gather(*ends)
    assert [session.close_code for session in sessions] == [3001] * CROWD
    status, lines = await running.ended()
    assert status == 0
    assert goodbyes(lines)[1] < 8


@pytest.mark.parametrize("running", [3600], indirect=True)
async def test_ctrl_c_hurries_at_once(running: Program) -> None:
    """Somebody sits in front of it. Every socket still gets its code."""
    sessions = [await running.door() for _ in range(CROWD)]
    running.process.send_signal(signal.SIGINT)

    assert [await closed(session) for session in sessions] == [3001] * CROWD
    status, lines = await running.ended()
    assert status == 0
    assert goodbyes(lines)[1] < 8


class TestCommands:
    """With arguments it asks a gateway that runs, instead of being one."""

    @pytest.mark.parametrize(
        ("bind", "url"),
        [
            ("127.0.0.1:9011", "http://127.0.0.1:9011"),
            ("0.0.0.0:9000,127.0.0.1:1", "http://127.0.0.1:9000"),
            ("[::]:9000", "http://[::1]:9000"),
            ("[::1]:9000", "http://[::1]:9000"),
        ],
    )
    def test_it_asks_the_internal_port(
        self, environment: pytest.MonkeyPatch, bind: str, url: str
    ) -> None:
        """Of the settings that the gateway itself has."""
        asked: list[tuple[list[str], str]] = []

        def ask(arguments: list[str], *, url: str) -> int:
            asked.append((arguments, url))
            return 7

        environment.setattr(cli, "main", ask)
        environment.setattr(sys, "argv", ["ws_gateway", "connections", "list"])
        environment.setenv("GATEWAY_INTERNAL_BIND", bind)

        assert program.main() == 7
        assert asked == [(["connections", "list"], url)]

    def test_without_a_key_it_says_so(
        self, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One line, status 2."""
        environment.setattr(sys, "argv", ["ws_gateway", "connections", "list"])

        assert program.main() == 2
        assert capsys.readouterr().err == "GATEWAY_API_KEY: the gateway's, needed to ask it\n"
