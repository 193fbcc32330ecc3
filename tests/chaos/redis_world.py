"""The Redis of a run: one server, or a master and its replica behind three sentinels."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from redis.exceptions import RedisError

from tests.redis_sentinel import SERVICE, RedisSentinels
from tests.redis_server import RedisServer

# What is acknowledged is on the disk, so that only what cuts it off can lose it.
_DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes")
_DOWN_MILLISECONDS = 2500
"""A busy machine's master is not taken for a dead one."""
_TAKEN_SECONDS = 60
_POLL_SECONDS = 0.05


class OneServer:
    """One server, whose files are at hand.

    Args:
        directory: For its own.

    Attributes:
        master: The server.
        folder: Its files.
        patience_seconds: How long it may be paused without more coming of it.
    """

    patience_seconds = 60.0

    def __init__(self, directory: Path) -> None:
        self.folder = directory / "redis"
        self.folder.mkdir()
        self.master = RedisServer(self.folder, *_DURABLE)
        self.url = self.master.url

    async def start(self) -> None:
        """Start it."""
        await asyncio.to_thread(self.master.start)

    def kill(self) -> None:
        """End it."""
        self.master.kill()

    async def check(self) -> None:
        """Look whether everything is as it should be."""


class Sentinels:
    """A master and its replica, which change places.

    Args:
        directory: For their files.

    Attributes:
        master: The server that is it now, as far as we had it changed.
        patience_seconds: How long it may be paused without more coming of it.
    """

    patience_seconds = 1.0

    def __init__(self, directory: Path) -> None:
        self.folder = directory / "redis"
        self.folder.mkdir()
        self._all = RedisSentinels(self.folder, options=_DURABLE)
        self.master, self._replica = self._all.servers
        self.url = self._all.url

    async def start(self) -> None:
        """Start all of them."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self._all.start()
        for sentinel in self._all.sentinels:
            sentinel.ask("SENTINEL", "SET", SERVICE, "down-after-milliseconds", _DOWN_MILLISECONDS)

    def kill(self) -> None:
        """End all of them."""
        self._all.kill()

    async def hand_over(self) -> None:
        """Order a failover, and wait until it is done.

        Raises:
            TimeoutError: It was not done.
        """
        async with asyncio.timeout(_TAKEN_SECONDS):
            while True:
                try:
                    await asyncio.to_thread(self._order)
                    break
                except RedisError:  # they have not seen the replica again yet
                    await asyncio.sleep(_POLL_SECONDS)
        await self.taken_over()

    def _order(self) -> None:
        self._all.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)

    async def taken_over(self) -> None:
        """Wait until all sentinels name the replica.

        Raises:
            TimeoutError: They do not.
        """
        async with asyncio.timeout(_TAKEN_SECONDS):
            while await self._named() != self._replica.port:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(_POLL_SECONDS)
        self.master, self._replica = self._replica, self.master

    async def _named(self) -> int:
        return await asyncio.to_thread(self._all.master_port)

    async def follow(self, former: RedisServer) -> None:
        """Have the former master follow the new one, in whichever state it is.

        Raises:
            TimeoutError: It does not.
        """
        async with asyncio.timeout(_TAKEN_SECONDS):
            await asyncio.to_thread(self._follow, former)

    def _follow(self, former: RedisServer) -> None:
        if not former.alive:
            former.start()
        former.ask("REPLICAOF", "127.0.0.1", self.master.port)
        deadline = time.monotonic() + _TAKEN_SECONDS
        while former.ask("INFO", "replication").get("master_link_status") != "up":
            if time.monotonic() > deadline:
                raise TimeoutError("the former master does not follow")
            time.sleep(_POLL_SECONDS)

    async def check(self) -> None:
        """Look whether the master is still the one that we know.

        Raises:
            RuntimeError: Sentinels chose another by themselves.
        """
        port = await self._named()
        if port != self.master.port:
            raise RuntimeError(f"sentinels chose {port} by themselves")
