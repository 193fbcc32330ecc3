"""A gateway's broker, as tests of servers that move and fail see it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from msgspec import Raw

from tests.ws_gateway.broker.conftest import make_broker, until
from ws_gateway.broker.base import History, HistoryFilter, Link, PublishOptions
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import Publication
from ws_gateway.redis_link import Timing

KEPT = PublishOptions(history_size=1000, history_ttl=600)
EVERYTHING = HistoryFilter(limit=-1)


class Process:
    """One process's broker, what it was brought, and what it was told that it may have missed."""

    def __init__(self, url: str) -> None:
        self.broker = make_broker(url, timing=Timing())
        self.received: list[tuple[str, int]] = []
        self.missed: list[str] = []

    async def publish(self, channel: str, number: int, options: PublishOptions = KEPT) -> bool:
        """Publish into a channel with history; returns whether that was acknowledged."""
        publication = Publication(data=Raw(b"%d" % number))
        try:
            await self.broker.publish(channel, publication, options)
        except BrokerUnavailable:
            return False
        return True

    def numbers(self, channel: str) -> list[int]:
        """Return what was delivered in a channel."""
        return [number for name, number in self.received if name == channel]

    def take(self, channel: str, publication: Publication, _link: Link | None, _at: float) -> None:
        """Be the handler."""
        self.received.append((channel, int(bytes(publication.data))))

    async def history(self, channel: str) -> History:
        """Read all that is kept, as somebody who remembers what this process has seen."""
        return await self.broker.history(channel, EVERYTHING)


def kept(history: History) -> list[int]:
    """Return the numbers in a history."""
    return [int(bytes(publication.data)) for publication in history.publications]


@contextlib.asynccontextmanager
async def running(url: str, *, there: bool = True) -> AsyncIterator[Process]:
    """Run one for a while; ``there``: its Redis is, so that it can be waited for."""
    process = Process(url)
    await process.broker.start(process.take, process.missed.append)
    if there:
        await until(process.broker.ready)
    try:
        yield process
    finally:
        await process.broker.stop()
