"""An official SDK that stops reading a hot channel, and one beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from centrifuge import (
    Client,
    ClientEventHandler,
    ConnectingContext,
    PublicationContext,
    SubscribedContext,
    SubscribingContext,
    SubscriptionEventHandler,
)
from typing_extensions import override

from tests.attacks.door import CHANNELS
from tests.integration.embedded import ask
from tests.integration.gateways import Gateway, Issuer

pytestmark = pytest.mark.integration

CHANNEL = "kept:a"  # where publications may be dropped
BULK = "x" * 60_000
AFTER = 3  # more than one, and far less than what one answer may recover


class Link(ClientEventHandler):  # type: ignore[misc]
    """Notes why the connection was lost."""

    def __init__(self) -> None:
        self.losses: list[int] = []

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        """Note it; 0 is the first attempt."""
        self.losses += [ctx.code] if ctx.code else []


class Reader(SubscriptionEventHandler):  # type: ignore[misc]
    """Notes what comes, and what becomes of the subscription."""

    def __init__(self) -> None:
        self.link = Link()
        self.heard: list[int] = []
        self.news = asyncio.Condition()
        self.losses: list[int] = []
        self.recovered: list[bool] = []

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note it."""
        async with self.news:
            self.heard.append(ctx.pub.data["number"])
            self.news.notify_all()

    @override
    async def on_subscribing(self, ctx: SubscribingContext) -> None:
        """Note why it ended; 0 is the first attempt."""
        self.losses += [ctx.code] if ctx.code else []

    @override
    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        """Note whether it goes on where it was."""
        self.recovered.append(ctx.recovered)

    async def hears(self, number: int) -> None:
        """Wait for a publication."""
        async with asyncio.timeout(30), self.news:
            await self.news.wait_for(lambda: self.heard and self.heard[-1] >= number)


@pytest.fixture
def gateway(tmp_path: Path, issuer: Issuer) -> Iterator[Gateway]:
    """One that keeps little for who does not read."""
    channels = tmp_path / "hot.toml"
    channels.write_text(CHANNELS)
    settings = {
        "GATEWAY_CHANNELS_FILE": str(channels),
        "GATEWAY_MAX_QUEUE_BYTES": "65536",
        "GATEWAY_MAX_STALL_SECONDS": "60",
    }
    gateway = Gateway(tmp_path, issuer, settings).start()
    yield gateway
    gateway.stop()


@contextlib.asynccontextmanager
async def reading(gateway: Gateway, user: str) -> AsyncIterator[tuple[Reader, Any]]:
    """Read the channel for a while; gives out the reader, and its socket."""
    reader = Reader()
    client = Client(gateway.url, reader.link, token=gateway.token(user), proxy=None)
    await client.connect()
    subscription = client.new_subscription(CHANNEL, events=reader)
    await subscription.subscribe()
    await subscription.ready()
    connection = client._conn
    assert connection is not None
    yield reader, connection.transport
    await client.disconnect()
    await connection.wait_closed()


async def test_the_official_sdk_recovers_what_was_dropped_and_nobody_waits_for_it(
    gateway: Gateway,
) -> None:
    """2500 for the one that was stuck, on a connection that stays; the other hears each at once."""
    await gateway.ready()
    async with (
        reading(gateway, "stuck") as (stuck, socket),
        reading(gateway, "other") as (other, _),
        gateway.client("speaker") as speaker,
    ):
        number = 0

        async def publish() -> None:
            nonlocal number
            number += 1
            data = {"number": number, "bulk": BULK}
            answer = await ask(speaker, id=number, publish={"channel": CHANNEL, "data": data})
            assert "publish" in answer
            # Before anything else is published.
            await other.hears(number)

        await publish()
        await stuck.hears(1)
        socket.pause_reading()
        while gateway.metric("gateway_subscriptions_dropped_total") == 0:
            assert number < 1000
            await publish()
        for _ in range(AFTER):
            await publish()
        assert len(stuck.heard) < number
        socket.resume_reading()
        await stuck.hears(number)
        await publish()
        await stuck.hears(number)

        everything = list(range(1, number + 1))
        assert (other.heard, other.losses) == (everything, [])
        assert (stuck.heard, stuck.losses) == (everything, [2500])
        assert stuck.recovered == [False, True]
        assert stuck.link.losses == other.link.losses == []
