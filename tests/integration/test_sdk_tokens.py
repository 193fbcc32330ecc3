"""Tokens of one's own backend, as the official SDK fetches and refreshes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from centrifuge import (
    ClientState,
    SubscribedContext,
    SubscriptionEventHandler,
    UnsubscribedContext,
)
from jose import jwt
from typing_extensions import override

from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration

SECRET = "a secret of thirty-two characters"
CHANNEL = "$room:1"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Embedded]:
    """A server that knows the backend's secret, and no issuer; it waits hardly any longer."""
    settings = {
        "GATEWAY_HMAC_SECRET": SECRET,
        "GATEWAY_ISSUERS": "[]",
        "GATEWAY_EXPIRY_GRACE_SECONDS": "1",
    }
    server = Embedded(tmp_path, settings).start()
    yield server
    server.stop()


class Subscription(SubscriptionEventHandler):  # type: ignore[misc]
    """What becomes of a subscription."""

    def __init__(self) -> None:
        self.subscribed: list[SubscribedContext] = []
        self.ended: list[UnsubscribedContext] = []

    @override
    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        """Note it."""
        self.subscribed.append(ctx)

    @override
    async def on_unsubscribed(self, ctx: UnsubscribedContext) -> None:
        """Note it."""
        self.ended.append(ctx)


class Backend:
    """Signs tokens that last a second, and says when it has signed enough."""

    def __init__(self) -> None:
        self.connections = 0
        self.subscriptions = 0
        self.enough = asyncio.Event()

    async def connection(self) -> str:
        """Sign for the user 42."""
        self.connections += 1
        return self._sign({"sub": "42", "info": {"name": "x"}})

    async def subscription(self, channel: str) -> str:
        """Sign for the channel that the SDK names."""
        self.subscriptions += 1
        return self._sign({"sub": "42", "channel": channel, "data": {"n": 1}})

    def _sign(self, claims: dict[str, object]) -> str:
        if self.connections >= 4 and self.subscriptions >= 4:
            self.enough.set()
        return str(jwt.encode(claims | {"exp": time.time() + 1}, SECRET, "HS256"))


async def test_connection_and_subscription_live_on_by_new_tokens(backend: Embedded) -> None:
    """Refreshed three times each, the subscription was never ended and is still there."""
    tokens, events = Backend(), Subscription()
    async with backend.sdk(get_token=tokens.connection) as client:
        subscription = client.new_subscription(
            CHANNEL, events=events, get_token=tokens.subscription
        )
        await subscription.subscribe()
        await subscription.ready()

        async with asyncio.timeout(20):
            await tokens.enough.wait()
        await subscription.publish("still here")

    assert len(events.subscribed) == 1
    assert events.subscribed[0].data == {"n": 1}


async def test_tokens_of_the_future_are_asked_for_again(backend: Embedded) -> None:
    """The signing machine's clock is a minute ahead, then right: nobody is sent away for good."""
    begins = {"connection": [60, 0], "subscription": [60, 0]}

    def sign(kind: str, claims: dict[str, object]) -> str:
        soon = {"nbf": time.time() + begins[kind].pop(0), "exp": time.time() + 600}
        return str(jwt.encode({"sub": "42"} | claims | soon, SECRET, "HS256"))

    async def connection() -> str:
        return sign("connection", {})

    async def subscription(channel: str) -> str:
        return sign("subscription", {"channel": channel})

    async with asyncio.timeout(20), backend.sdk(get_token=connection) as client:
        room = client.new_subscription(CHANNEL, get_token=subscription)
        await room.subscribe()
        await room.ready()

    assert begins == {"connection": [], "subscription": []}


async def test_a_token_issued_in_the_future_is_asked_for_again(server: Embedded) -> None:
    """The same of an issuer of JWKS, whose clock ``iat`` tells."""
    begins = [60, 0]

    async def token() -> str:
        return server.sign(iat=int(time.time()) + begins.pop(0))

    async with asyncio.timeout(20), server.sdk(get_token=token) as client:
        assert client.state is ClientState.CONNECTED

    assert begins == []


async def test_wrong_subscription_token_ends_the_subscription_alone(backend: Embedded) -> None:
    """103: an SDK does not try again; the connection goes on."""
    tokens, events = Backend(), Subscription()
    async with backend.sdk(get_token=tokens.connection) as client:
        subscription = client.new_subscription(CHANNEL, events=events, token="invalid")
        await subscription.subscribe()
        async with asyncio.timeout(10):
            while not events.ended:  # noqa: ASYNC110 - an SDK's own event, in its own task
                await asyncio.sleep(0)
        answer = await client.rpc("echo", 1)

    assert events.ended[0].code == 103
    assert answer.data == 1
