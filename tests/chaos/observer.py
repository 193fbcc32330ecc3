"""Those who only watch: what the gateways say of themselves, and what is in Redis."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import redis.asyncio
from redis.exceptions import RedisError

from tests.chaos.history import Event, Kept, Unready
from tests.chaos.world import World
from ws_gateway.broker.redis import _keys

_LOOK_SECONDS = 0.25
_AUDIT_SECONDS = 0.5
_PAGE = 60
_ID = re.compile(rb'"id":\s?"([^"]+)"')


async def watch_gateways(world: World, note: Callable[[Event], None]) -> None:
    """Note each change of what a gateway's readiness lacks, until cancelled."""
    known: dict[str, tuple[str, ...]] = {gateway.name: () for gateway in world.gateways}
    while True:
        for gateway in world.gateways:
            conditions = await gateway.conditions()
            if conditions is None:
                reasons: tuple[str, ...] = ("silent",)
            else:
                reasons = tuple(name for name, holds in conditions.items() if not holds)
            if reasons != known[gateway.name]:
                known[gateway.name] = reasons
                note(Unready(time.monotonic(), gateway.name, reasons))
        await asyncio.sleep(_LOOK_SECONDS)


class Audit:
    """Reads the streams themselves, so that what was acknowledged can be looked for there.

    Args:
        port: Tells that of Redis, without a proxy.
        channels: Which streams.
        note: Where events go.
    """

    def __init__(
        self, port: Callable[[], int], channels: Iterable[str], note: Callable[[Event], None]
    ) -> None:
        self._port = port
        self._keys = {channel: _keys(channel)[0] for channel in channels}
        self._note = note
        self._last: dict[str, bytes] = defaultdict(bytes)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(2):
                    await self.look()
            except (RedisError, OSError, TimeoutError):
                pass  # away; the gateways say so too
            await asyncio.sleep(_AUDIT_SECONDS)

    async def look(self, page: int = _PAGE) -> None:
        """Look once at the ends of all streams.

        Raises:
            RedisError: Redis is away.
            OSError: The same.
        """
        async with redis.asyncio.Redis(port=self._port(), protocol=2) as client:
            pipeline = client.pipeline(transaction=False)
            for key in self._keys.values():
                pipeline.execute_command("XREVRANGE", key, "+", "-", "COUNT", page)
            answers = await pipeline.execute()
        for channel, newest_first in zip(self._keys, answers, strict=True):
            self._take(channel, newest_first[::-1])

    def _take(self, channel: str, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        ids = [entry for entry, _ in entries]
        last = self._last[channel]
        # From the last known on, so that it is seen what follows what.
        begin = ids.index(last) if last in ids else 0
        if entries and ids[-1] != last:
            found = tuple((_offset(entry), _id(fields)) for entry, fields in entries[begin:])
            self._note(Kept(time.monotonic(), channel, found))
            self._last[channel] = ids[-1]


def _offset(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def _id(fields: dict[bytes, bytes]) -> str:
    for value in fields.values():
        found = _ID.search(value)
        if found is not None:
            return found[1].decode()
    raise ValueError("an entry without an id")
