"""The server API of one gateway under the test's control."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from tests.ws_gateway.conftest import Gateway
from ws_gateway.api.operations import Operations
from ws_gateway.control.cluster import Cluster
from ws_gateway.control.memory import MemoryBus
from ws_gateway.orders import Orders

CHANNELS = """
[without_namespace]
allow_subscribe_for_client = true
presence = true
join_leave = true
history_size = 100
history_ttl = "300s"
force_recovery = true
allow_tags_filter = true
allowed_delta_types = ["fossil"]

[namespaces.room]
allow_subscribe_for_client = true

[namespaces.objects]
publication_data_format = "json_object"

[namespaces.bytes]
publication_data_format = "binary"
history_size = 10
history_ttl = "300s"
"""


class API:
    """One gateway, what may be asked of it, and its cluster."""

    def __init__(self, gateway: Gateway, cluster: Cluster) -> None:
        self.gateway = gateway
        self.cluster = cluster
        self.operations = Operations(gateway.node, cluster)
        self.perform = self.operations.perform


@contextlib.asynccontextmanager
async def counted_turns() -> AsyncIterator[list[None]]:
    """Count how often the loop turns meanwhile: the length of what is yielded."""
    turns: list[None] = []

    async def count() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    yield turns
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)


@pytest.fixture
async def api(make_gateway: Callable[..., Gateway]) -> AsyncIterator[API]:
    """A gateway with channels of every kind."""
    gateway = make_gateway(channels=CHANNELS)
    cluster = Cluster(
        MemoryBus(), node=gateway.node.id, perform=Orders(gateway.node).perform, timeout=30
    )
    await cluster.start()
    yield API(gateway, cluster)
    await cluster.stop()
