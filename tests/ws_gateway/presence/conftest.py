"""Presence as a process has it: over a connection of its own to the Redis of the broker's tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import Raw

from tests.ws_gateway.broker.conftest import (
    HASTY,
    mortal_redis,
    proxy,
    redis_cluster,
    redis_server,
    shared_cluster,
    shared_redis,
    until,
)
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.presence.redis import RedisPresence
from ws_gateway.protocol.messages import ClientInfo
from ws_gateway.redis_link import Timing

__all__ = [
    "mortal_redis",
    "proxy",
    "redis_cluster",
    "redis_server",
    "shared_cluster",
    "shared_redis",
]

ALICE = ClientInfo(user="alice", client="c-1", conn_info=Raw(b'{"name":"Alice"}'))
ALICE_AGAIN = ClientInfo(user="alice", client="c-2", chan_info=Raw(b'{"role": "owner"}'))
BOB = ClientInfo(user="bob", client="c-3")


class Process:
    """One process's presence, with the connection that it shares with the broker."""

    def __init__(self, url: str, timing: Timing = HASTY, **options: Any) -> None:  # noqa: ANN401
        self.commands = Topology(url, timing=timing).commands(())
        self.presence = RedisPresence(self.commands, **options)

    async def start(self) -> None:
        """Connect, and begin."""
        self._link = asyncio.create_task(self.commands.link.run())
        await self.presence.start()
        await until(lambda: self.commands.link.connected)

    async def stop(self) -> None:
        """End in good order."""
        await self.presence.stop()
        await self._disconnect()

    async def kill(self) -> None:
        """End as ``kill -9`` does: nobody is told anything."""
        assert self.presence._task is not None
        self.presence._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.presence._task
        self.presence._task = None
        await self._disconnect()

    async def _disconnect(self) -> None:
        self._link.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._link
        self.commands.close()


StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start_process() -> AsyncIterator[StartProcess]:
    """Start processes, by the URL of their Redis; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(url: str, **options: Any) -> Process:  # noqa: ANN401
            process = Process(url, **options)
            await process.start()
            stack.push_async_callback(process.stop)
            return process

        yield start
