"""Buses under test, and what their nodes have heard."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import HASTY, redis_cluster, shared_cluster, until
from ws_gateway.broker.redis import RedisBroker
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.control.base import Bus
from ws_gateway.control.memory import MemoryBus
from ws_gateway.control.redis import RedisBus
from ws_gateway.metrics import Metrics
from ws_gateway.redis_link import Timing

__all__ = ["redis_cluster", "shared_cluster"]


class Heard:
    """One node: its bus, and what came over it."""

    def __init__(self, name: str, bus: Bus) -> None:
        self.name = name
        self.bus = bus
        self.messages: list[bytes] = []

    async def start(self) -> None:
        """Begin to listen."""
        await self.bus.start(self.name, self.messages.append)
        await until(self.bus.ready)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the buses of a module; a test may kill it, and has to start it again."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


Make = Callable[[str], Heard]

BETWEEN_PROCESSES = {"redis": "make_redis", "redis-cluster": "make_cluster"}
"""The fixture that makes nodes over each kind of Redis."""


@contextlib.asynccontextmanager
async def _making(url: str, timing: Timing) -> AsyncIterator[Make]:
    """Make nodes over a Redis; they end at the end."""
    brokers: list[RedisBroker] = []
    buses: list[RedisBus] = []

    def make(name: str) -> Heard:
        redis = Topology(url, timing=timing)
        broker = RedisBroker(redis, metrics=Metrics(CollectorRegistry(), "test"))
        brokers.append(broker)
        buses.append(RedisBus(redis, broker.commands))
        return Heard(name, _WithBroker(buses[-1], broker))

    yield make
    for bus in buses:
        await bus.stop()
    for broker in brokers:
        await broker.stop()


@pytest.fixture
async def make_redis(server: RedisServer) -> AsyncIterator[Make]:
    """A factory of nodes over that Redis."""
    async with _making(server.url, HASTY) as make:
        yield make


@pytest.fixture
async def make_cluster(redis_cluster: RedisCluster) -> AsyncIterator[Make]:
    """A factory of nodes over a cluster."""
    async with _making(redis_cluster.url, Timing()) as make:
        yield make


class _WithBroker:
    """A bus that brings up the connection which publishes for it."""

    def __init__(self, bus: RedisBus, broker: RedisBroker) -> None:
        self._bus = bus
        self._broker = broker
        self.ready = bus.ready
        self.stop = bus.stop
        self.tell_all = bus.tell_all
        self.tell = bus.tell

    async def start(self, node: str, receiver: Callable[[bytes], None]) -> None:
        """See Bus."""
        await self._broker.start(lambda *_: None)
        await self._bus.start(node, receiver)


@pytest.fixture(params=["memory", "redis", "redis-cluster"])
def make(request: pytest.FixtureRequest) -> Make:
    """A factory of single nodes, of each kind."""
    if request.param == "memory":
        return lambda name: Heard(name, MemoryBus())
    factory: Make = request.getfixturevalue(BETWEEN_PROCESSES[request.param])
    return factory


@pytest.fixture(params=list(BETWEEN_PROCESSES))
def make_connected(request: pytest.FixtureRequest) -> Make:
    """A factory of nodes that hear each other, over each kind of Redis."""
    factory: Make = request.getfixturevalue(BETWEEN_PROCESSES[request.param])
    return factory
