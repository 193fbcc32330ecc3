"""A connection that is as old as it may get comes back, and misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from centrifuge import (
    Client,
    ClientEventHandler,
    ConnectingContext,
    PublicationContext,
    SubscriptionEventHandler,
)
from typing_extensions import override
from websockets.exceptions import ConnectionClosed

from tests.integration.embedded import ask
from tests.integration.gateways import Gateway, Issuer

pytestmark = pytest.mark.integration

CHANNEL = "kept:age"
MOVES = 2


class Wanderer(ClientEventHandler, SubscriptionEventHandler):  # type: ignore[misc]
    """Notes why its connection was lost, and what it is told."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.heard: list[int] = []
        self.moved = asyncio.Event()

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        """Note the code; 0 is the first attempt."""
        if ctx.code:
            self.codes.append(ctx.code)
        if len(self.codes) == MOVES:
            self.moved.set()

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note it."""
        self.heard.append(ctx.pub.data)


@pytest.fixture
def gateway(tmp_path: Path, issuer: Issuer) -> Iterator[Gateway]:
    """One whose connections live for a second."""
    gateway = Gateway(tmp_path, issuer, {"GATEWAY_MAX_CONNECTION_AGE": "1"}).start()
    yield gateway
    gateway.stop()


async def test_the_official_sdk_comes_back_and_resumes(gateway: Gateway, issuer: Issuer) -> None:
    """Each publication once and in order, over as many sockets as it takes; 3011 each time."""
    await gateway.ready()
    wanderer = Wanderer()
    client = Client(
        gateway.url,
        wanderer,
        token=issuer.token("wanderer"),
        proxy=None,
        min_reconnect_delay=0.05,
        max_reconnect_delay=0.2,
    )
    await client.connect()
    subscription = client.new_subscription(CHANNEL, events=wanderer)
    await subscription.subscribe()
    await subscription.ready()

    taken: list[int] = []
    async with asyncio.timeout(60):
        for number in itertools.count():
            # Whoever speaks gets old too, on a machine that is slow.
            with contextlib.suppress(ConnectionClosed):
                async with gateway.client("speaker") as speaker:
                    await ask(speaker, id=1, subscribe={"channel": CHANNEL})
                    await ask(speaker, id=2, publish={"channel": CHANNEL, "data": number})
                    taken.append(number)
            if wanderer.moved.is_set():
                break
        while not set(taken) <= set(wanderer.heard):  # noqa: ASYNC110 - the SDK tells by calls
            await asyncio.sleep(0.01)
    connection = client._conn
    await client.disconnect()
    if connection is not None:  # it closes behind the SDK's back
        await connection.wait_closed()

    assert taken
    assert wanderer.heard == sorted(set(wanderer.heard))
    assert set(wanderer.codes) == {3011}
