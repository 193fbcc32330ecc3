"""Several gateways under gunicorn, from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.integration.embedded import free_ports
from tests.integration.gateways import CHANNELS, Issuer
from tests.redis_server import RedisServer
from ws_gateway import workers

pytestmark = pytest.mark.integration

SECONDS = 90


class Running:
    """One ``python -m ws_gateway`` with two workers; its drain would take an hour."""

    def __init__(self, directory: Path, issuer: Issuer, redis: RedisServer) -> None:
        self.issuer = issuer
        self.stderr = directory / "stderr"
        (directory / "channels.toml").write_text(CHANNELS)
        (self.public,) = free_ports(1)
        self.internal = adjacent_ports()
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ws_gateway"],
                env=kept
                | {
                    "GATEWAY_BIND": f"127.0.0.1:{self.public}",
                    "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{self.internal[0]}",
                    "GATEWAY_WORKERS": "2",
                    "GATEWAY_ISSUERS": issuer.setting,
                    "GATEWAY_REDIS_URL": redis.url,
                    "GATEWAY_CHANNELS_FILE": str(directory / "channels.toml"),
                    "GATEWAY_DRAIN_SECONDS": "3600",
                },
                stderr=stderr,
            )
        try:
            self.until(self.ready)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it and its workers; nothing is left to a test that fails."""
        workers = self.workers if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait, but not for ever."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.stderr.read_text()
            time.sleep(0.02)

    def ready(self) -> bool:
        """Say whether both take sockets."""
        return [self.status(port) for port in self.internal] == [200, 200]

    @staticmethod
    def status(port: int) -> int:
        """Ask one worker whether it is ready; 0 if there is no answer."""
        try:
            url = f"http://127.0.0.1:{port}/health/ready"
            return httpx2.get(url, trust_env=False, timeout=1).status_code
        except httpx2.TransportError:
            return 0

    def connections(self) -> list[float]:
        """Count the sockets of each worker, as Prometheus would."""
        counts = []
        for port in self.internal:
            text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            (line,) = [
                line for line in text.splitlines() if line.startswith("gateway_connections ")
            ]
            counts.append(float(line.split()[1]))
        return counts

    def said(self) -> str:
        """Read the log."""
        return self.stderr.read_text()

    @property
    def workers(self) -> list[int]:
        """The processes of the workers."""
        pid = self.process.pid
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def connect(self, user: str) -> ClientConnection:
        """Open a connection that has connected, at whichever worker takes it."""
        session = await connect(
            f"ws://127.0.0.1:{self.public}/connection/websocket", proxy=None, ping_interval=None
        )
        await session.send(json.dumps({"id": 1, "connect": {"token": self.issuer.token(user)}}))
        assert "connect" in json.loads(await session.recv())
        return session


def adjacent_ports() -> list[int]:
    """Find two free ports side by side."""
    while True:
        (first,) = free_ports(1)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in (first, first + 1):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return [first, first + 1]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Who signs the tokens."""
    made = Issuer()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """What the workers meet in."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def running(tmp_path: Path, issuer: Issuer, redis: RedisServer) -> Iterator[Running]:
    """A gateway with two workers."""
    made = Running(tmp_path, issuer, redis)
    yield made
    made.kill()


async def closed(session: ClientConnection) -> int:
    """Wait for the close frame, and return its code."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ConnectionClosed) as caught:
            await session.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


async def answered(session: ClientConnection) -> bool:
    """Ask whether somebody is still there."""
    try:
        await asyncio.wait_for(await session.ping(), SECONDS)
    except ConnectionClosed:
        return False
    return True


async def test_two_workers_are_two_gateways_on_one_port(running: Running) -> None:
    """Each counts its own; whoever dies is replaced on the same ports; a second SIGTERM hurries."""
    sessions = [await running.connect(f"user-{number}") for number in range(40)]

    counts = await asyncio.to_thread(running.connections)
    assert sum(counts) == 40
    assert min(counts) >= 5  # one socket that both accepted from gave one of them nearly all

    first = running.workers
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    # Who comes now, waits for the one that is made in its place, or is with the other.
    sessions += await asyncio.gather(*(running.connect(f"late-{number}") for number in range(20)))
    await asyncio.to_thread(running.until, running.ready)
    assert first[0] not in running.workers
    assert first[1] in running.workers

    there = await asyncio.gather(*map(answered, sessions))
    assert there.count(False) in counts  # of the other worker's not one noticed
    for session in sessions:
        await session.close()
    sessions = [await running.connect(f"user-{number}") for number in range(6)]
    running.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(running.until, lambda: "Handling signal: term" in running.said())
    running.process.send_signal(signal.SIGTERM)

    assert [await closed(session) for session in sessions] == [3001] * 6
    assert await asyncio.to_thread(running.process.wait, SECONDS) == 0
    said = running.said()
    assert "Traceback" not in said
    assert all(json.loads(line) for line in said.splitlines())


async def test_every_worker_says_goodbye_at_its_own_pace(running: Running) -> None:
    """Neither the master nor uvicorn cuts anybody before: 1012 would come within milliseconds."""
    sessions = [await running.connect(f"user-{number}") for number in range(20)]
    running.process.send_signal(signal.SIGTERM)

    assert [await closed(session) for session in sessions] == [3001] * 20
    assert await asyncio.to_thread(running.process.wait, SECONDS) == 0
    lines = [json.loads(line) for line in running.said().splitlines()]
    ends = [line for line in lines if line["event"] == "connection closed"]
    times = sorted(datetime.fromisoformat(line["time"]) for line in ends)
    assert [line["code"] for line in ends] == [3001] * 20
    # One of them has ten or more, which is half a second.
    assert (times[-1] - times[0]).total_seconds() > 0.3


def test_a_killed_master_takes_its_workers_along(running: Running) -> None:
    """They would keep the ports from whoever comes next."""
    running.process.kill()
    running.process.wait()

    running.until(lambda: [running.status(port) for port in running.internal] == [0, 0])


def test_the_second_worker_that_cannot_start_does_not_end_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one's failure does, and then the others are waited for."""

    def fail(_master: Arbiter) -> None:
        raise HaltServer("Worker failed to boot.", 3)

    monkeypatch.setattr(Arbiter, "reap_workers", fail)
    master = workers._Master.__new__(workers._Master)

    with pytest.raises(HaltServer):
        master.reap_workers()
    master._stopping = True

    master.reap_workers()


def test_a_worker_that_cannot_start_ends_the_start(tmp_path: Path, redis: RedisServer) -> None:
    """One line says why, and nothing is tried for ever."""
    done = subprocess.run(
        [sys.executable, "-m", "ws_gateway"],
        env={
            "PATH": os.environ["PATH"],
            "GATEWAY_BIND": "127.0.0.1:0",
            "GATEWAY_INTERNAL_BIND": "127.0.0.1:0",
            "GATEWAY_WORKERS": "2",
            "GATEWAY_REDIS_URL": redis.url,
            "GATEWAY_CHANNELS_FILE": str(tmp_path / "none.toml"),
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode != 0
    assert "GATEWAY_CHANNELS_FILE: " in done.stderr
    assert "Traceback" not in done.stderr
