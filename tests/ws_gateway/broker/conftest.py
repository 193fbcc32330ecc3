"""A Redis, a bad line to it, and the processes that meet there."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from ws_gateway.broker.base import Link
from ws_gateway.broker.redis import RedisBroker
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.metrics import Metrics
from ws_gateway.protocol.messages import Publication
from ws_gateway.redis_link import Timing

HASTY = Timing(connect=0.5, reply=0.5, probe=0.1, first_retry=0.01, last_retry=0.05)
"""For tests that wait for what a dead connection brings about."""


class Proxy:
    """A TCP line that can be slow, broken into pieces, silent, cut, or not there at all.

    Attributes:
        delay: Seconds that every piece is kept.
        split: Cut what passes into pieces of any size.
        silent: Swallow what comes, in both directions, and say nothing.
        mute: Swallow what the server says.
        closed: Take no new connections: they are cut at once.
        accepted: How many connections there were.
    """

    _SIZES = (1, 2, 3, 5, 17, 100, 1400, 65_536)

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.split = False
        self.silent = False
        self.mute = False
        self.closed = False
        self.accepted = 0
        self._target = port
        self._random = random.Random(3)  # noqa: S311 - the same pieces in every run
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """End."""
        self.closed = True
        self._server.close()
        self.cut()
        await until(lambda: not self._serving)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._serving += 1
        try:
            if not self.closed:
                back, forth = await asyncio.open_connection("127.0.0.1", self._target)
                await self._relay(reader, writer, back, forth)
        except OSError:
            pass  # who is not there is not to be reached by this line either
        finally:
            writer.transport.abort()
            self._serving -= 1

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        ends = {writer, forth}
        if self.closed:
            forth.transport.abort()
            return
        self._writers |= ends
        up = asyncio.create_task(self._pump(reader, forth, answers=False))
        down = asyncio.create_task(self._pump(back, writer, answers=True))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.wait({up, down})
        self._writers -= ends

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await reader.read(65_536):
                for piece in self._pieces(data):
                    await asyncio.sleep(self.delay)
                    if self.silent or (self.mute and answers):
                        continue
                    writer.write(piece)
                    await writer.drain()
        except OSError:
            return

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self._random.choice(self._SIZES) if self.split else len(data)
            yield data[:size]
            data = data[size:]


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for what another process or connection does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process, no event tells
            await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that runs from test to test."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """A Redis that nothing is left on: no connection, and so no subscription, and no key."""
    yield shared_redis
    shared_redis.ask("FLUSHDB")
    deadline = time.monotonic() + 10
    while shared_redis.connections():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """One that runs from test to test."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster.start()
    finally:
        cluster.kill()


@pytest.fixture
def redis_cluster(shared_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """A cluster that nothing is left on."""
    yield shared_cluster
    shared_cluster.flush()


@pytest.fixture
def mortal_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """A line to Redis, a good one so far."""
    proxy = Proxy(redis_server.port)
    await proxy.start()
    yield proxy
    await proxy.stop()


def make_broker(url: str, metrics: Metrics | None = None, **options: Any) -> RedisBroker:  # noqa: ANN401
    """Make a broker as a gateway does, but that it waits for nothing long."""
    others = {name: options.pop(name) for name in ("jitter",) if name in options}
    redis = Topology(url, timing=options.pop("timing", HASTY), **others)
    return RedisBroker(redis, metrics=metrics or Metrics(CollectorRegistry(), "test"), **options)


def key(channel: str) -> bytes:
    """Return a channel's name in Redis."""
    return b"drawbridge:1:ch:" + channel.encode()


def publication(number: int) -> Publication:
    """Return one that can be told from others."""
    return Publication(data=Raw(str(number).encode()))


class Process:
    """A broker as one gateway process has it, and what it was brought."""

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - RedisBroker's own
        self.registry = CollectorRegistry()
        self.broker: RedisBroker = make_broker(url, Metrics(self.registry, "test"), **options)
        self.received: list[tuple[str, Publication]] = []
        self.published_at: list[float] = []

    def take(self, channel: str, publication: Publication, _link: Link | None, at: float) -> None:
        """Be the handler."""
        self.received.append((channel, publication))
        self.published_at.append(at)

    def numbers(self, channel: str = "news") -> list[int]:
        """Return what was delivered in a channel."""
        return [int(bytes(found.data)) for name, found in self.received if name == channel]

    def metric(self, name: str) -> float:
        """Read a metric as Prometheus would."""
        value = self.registry.get_sample_value(name)
        assert value is not None
        return value

    async def publish(self, number: int, channel: str = "news") -> int:
        """Publish, and return how many processes took it."""
        return (await self.broker.publish(channel, publication(number))).receivers

    async def published(self, number: int, channel: str = "news") -> bool:
        """Publish, and say whether it was acknowledged."""
        try:
            await self.publish(number, channel)
        except BrokerUnavailable:
            return False
        return True

    async def recovered(self) -> None:
        """Wait until it is ready again."""
        await until(self.broker.ready)


@contextlib.asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[Process]:  # noqa: ANN401
    """Run a process's broker for a while."""
    process = Process(url, **options)
    await process.broker.start(process.take)
    try:
        yield process
    finally:
        await process.broker.stop()


@pytest.fixture
async def process(redis_server: RedisServer) -> AsyncIterator[Process]:
    """One process."""
    async with running(redis_server.url) as process:
        yield process


@pytest.fixture
async def other(redis_server: RedisServer) -> AsyncIterator[Process]:
    """Another process."""
    async with running(redis_server.url) as process:
        yield process


@pytest.fixture
async def proxied(proxy: Proxy) -> AsyncIterator[Process]:
    """A process at the end of a line that can be made bad."""
    async with running(proxy.url) as process:
        yield process


@pytest.fixture
async def survivor(mortal_redis: RedisServer) -> AsyncIterator[Process]:
    """A process whose Redis may be killed."""
    async with running(mortal_redis.url) as process:
        yield process
