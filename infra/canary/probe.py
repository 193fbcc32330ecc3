"""One attempt after the other to say something and to hear it, by the official SDK."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from typing import Any

from centrifuge import (
    Client,
    ClientEventHandler,
    ClientState,
    ConnectedContext,
    PublicationContext,
    Subscription,
    SubscriptionEventHandler,
    SubscriptionState,
)
from centrifuge.exceptions import CentrifugeError

from infra.canary.login import Login, LoginError
from infra.canary.metrics import Metrics, Stage
from infra.canary.sequence import Sequence
from infra.canary.settings import Settings

_log = logging.getLogger(__name__)
# Of what the SDK waits before it connects again: it doubles up to that, at random below.
_MIN_RECONNECT_SECONDS = 0.1
_RUN_BYTES = 8
# The SDK gives a close a second, and then cuts it.
_CLOSE_SECONDS = 2.0


class Probe:
    """Publishes into a channel of its own, and waits until it hears it.

    The SDK keeps the connection and its position in the channel, and comes back by itself; where it
    gives up for good, the next attempt has it begin again.

    Args:
        settings: Where, and how often.
        login: Where tokens are from.
        metrics: What is counted.
        tls: Whom to believe.
    """

    def __init__(
        self, settings: Settings, login: Login, metrics: Metrics, tls: ssl.SSLContext
    ) -> None:
        self._settings = settings
        self._login = login
        self._metrics = metrics
        self._tls = tls if settings.url.startswith("https") else None
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        # What others say in the channel, an earlier process of ours among them, is not meant.
        self._run = secrets.token_hex(_RUN_BYTES)
        self._sequence = Sequence()
        self._number = 0
        self._heard = asyncio.Event()
        self._connected = 0

    async def run(self) -> None:
        """Try, until cancelled; then take leave."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        try:
            while True:
                await self._attempt()
                # One that took longer than the interval is not made up for.
                next_at = max(next_at + self._settings.interval_seconds, loop.time())
                await asyncio.sleep(next_at - loop.time())
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Say goodbye, so that the gateway need not find out by itself."""
        if self._client is None:
            return
        before = asyncio.all_tasks()
        await self._client.disconnect()
        # The SDK closes the socket in a task of its own, for which it does not wait.
        if closing := asyncio.all_tasks() - before:
            await asyncio.wait(closing, timeout=_CLOSE_SECONDS)

    async def _attempt(self) -> None:
        deadline = self._settings.deadline_seconds
        try:
            subscription = await self._subscribed()
        except (CentrifugeError, LoginError, TimeoutError) as error:
            self._failed(Stage.CONNECT, error)
            return
        self._metrics.count(Stage.CONNECT, good=True)

        self._number += 1
        self._heard.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(deadline):
                await subscription.publish({"run": self._run, "number": self._number})
        except (CentrifugeError, TimeoutError) as error:
            self._failed(Stage.PUBLISH, error)
            return
        self._metrics.count(Stage.PUBLISH, good=True)
        self._sequence.acknowledge(self._number)

        try:
            async with asyncio.timeout_at(began + deadline):
                await self._heard.wait()
        except TimeoutError as error:
            self._failed(Stage.RECEIVE, error)
            return
        self._metrics.count(Stage.RECEIVE, good=True)
        self._metrics.round_trip.observe(self._heard_at - began)
        self._metrics.last_success.set_to_current_time()

    async def _subscribed(self) -> Subscription:
        """Wait until publications would arrive.

        Raises:
            LoginError: There is no token.
            CentrifugeError: The SDK was refused.
            TimeoutError: It takes too long.
        """
        if self._client is None or self._subscription is None:
            token = await self._login.token()
            channel = await self._login.channel(token)
            self._client = Client(
                self._settings.websocket_url,
                _ClientHandler(self),
                token=token,
                get_token=self._login.token,
                name="canary",
                timeout=self._settings.deadline_seconds,
                min_reconnect_delay=_MIN_RECONNECT_SECONDS,
                max_reconnect_delay=self._settings.interval_seconds,
                ssl_context=self._tls,
                proxy=None,
            )
            self._subscription = self._client.new_subscription(
                channel, events=_SubscriptionHandler(self), recoverable=True
            )
        async with asyncio.timeout(self._settings.deadline_seconds):
            if self._client.state is ClientState.DISCONNECTED:
                if self._connected:
                    # It was told never to come back: not with that token.
                    self._client.set_token("")
                await self._client.connect()
            if self._subscription.state is SubscriptionState.UNSUBSCRIBED:
                await self._subscription.subscribe()
            await self._client.ready(self._settings.deadline_seconds)
            await self._subscription.ready(self._settings.deadline_seconds)
        return self._subscription

    def _failed(self, stage: Stage, error: Exception) -> None:
        self._metrics.count(stage, good=False)
        # Of the SDK's errors the text is the protocol's; others may quote anything.
        said = str(error) if isinstance(error, CentrifugeError | LoginError) else ""
        reason = said or type(error).__name__
        _log.warning("attempt failed", extra={"stage": stage.value, "reason": reason})

    # What the SDK says

    def connected(self) -> None:
        """Note that there is a connection."""
        self._connected += 1
        if self._connected > 1:
            self._metrics.reconnects.inc()

    def received(self, data: Any) -> None:  # noqa: ANN401 - JSON of anybody's
        """Note what was heard, if it is of this process."""
        if not isinstance(data, dict) or data.get("run") != self._run:
            return
        number = data.get("number")
        # Who shares the channel may say anything, in our name too.
        if not isinstance(number, int) or not 0 < number <= self._number:
            return
        self._metrics.missed.inc(self._sequence.receive(number))
        if number == self._number:
            self._heard_at = asyncio.get_running_loop().time()
            self._heard.set()


class _ClientHandler(ClientEventHandler):  # type: ignore[misc]
    """Tells the probe what the client is told."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def on_connected(self, ctx: ConnectedContext) -> None:  # noqa: ARG002 - the SDK's signature
        self._probe.connected()


class _SubscriptionHandler(SubscriptionEventHandler):  # type: ignore[misc]
    """Tells the probe what its subscription is told."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def on_publication(self, ctx: PublicationContext) -> None:
        self._probe.received(ctx.pub.data)
