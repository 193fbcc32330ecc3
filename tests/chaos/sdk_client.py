"""A client on the official Python SDK, which notes what its handlers are told."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
from typing import Any

from centrifuge import (
    Client,
    ClientEventHandler,
    ConnectedContext,
    ConnectingContext,
    DisconnectedContext,
    PublicationContext,
    SubscribedContext,
    SubscribingContext,
    SubscriptionEventHandler,
    UnsubscribedContext,
)
from centrifuge.exceptions import CentrifugeError, ReplyError
from typing_extensions import override
from websockets.asyncio.client import ClientConnection

from tests.chaos.history import (
    CUT,
    LEFT,
    LOST,
    Answered,
    Closed,
    Connected,
    Journal,
    Received,
    Sent,
    Subscribed,
    Unsubscribed,
)
from tests.chaos.raw_client import Token, gateway_of

_MOST_WAITING = 20
_FIRST_CODE = 1000
_TRANSPORT_CLOSED = 1


class SDKClient(ClientEventHandler):  # type: ignore[misc]
    """Subscribes to one channel and publishes there.

    Args:
        name: In the history.
        url: Of the door.
        channel: Its channel.
        token: Where it gets tokens.
        journal: Of its process.
        tls: Whom it trusts.
        protobuf: Which encoding.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        channel: str,
        token: Token,
        journal: Journal,
        tls: ssl.SSLContext,
        protobuf: bool,
    ) -> None:
        self.name = name
        self.channel = channel
        self.acknowledged = ""
        self._note = journal.note
        self._protobuf = protobuf
        self._publications = itertools.count(1)
        self._attempts: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = False
        self._opened: ClientConnection | None = None
        self._client = Client(
            url,
            self,
            get_token=lambda: token(False),
            use_protobuf=protobuf,
            min_reconnect_delay=0.1,
            max_reconnect_delay=1.5,
            ssl_context=tls,
            proxy=None,
        )
        self._subscription = self._client.new_subscription(
            channel, events=_Handler(self), min_resubscribe_delay=0.1, max_resubscribe_delay=1.5
        )

    @property
    def subscribed(self) -> bool:
        """Whether publications arrive."""
        return self._connected and self._subscription.state.value == "subscribed"

    async def run(self) -> None:
        """Connect; the SDK does the rest."""
        await self._subscription.subscribe()
        await self._client.connect()

    def publish(self, word: str = "") -> str | None:
        """Try to publish once; returns the attempt's id, None if there is no way to."""
        if not self.subscribed or len(self._attempts) > _MOST_WAITING:
            return None
        attempt = f"{word}{self.name}/{next(self._publications)}"
        task = asyncio.create_task(self._publish(attempt))
        self._attempts.add(attempt)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return attempt

    def waits_for(self, attempt: str) -> bool:
        """Say whether an attempt has no answer yet."""
        return attempt in self._attempts

    async def leave(self) -> None:
        """Close the socket."""
        await self._client.disconnect()

    async def _publish(self, attempt: str) -> None:
        now = time.monotonic()
        self._note(Sent(now, self.name, self.channel, attempt))
        data: Any = {"id": attempt, "sent": now}
        try:
            await self._client.publish(
                self.channel, json.dumps(data).encode() if self._protobuf else data
            )
            code, self.acknowledged = 0, attempt
        except ReplyError as error:
            code = int(error.code)
        except (CentrifugeError, TimeoutError):
            code = LOST
        self._attempts.discard(attempt)
        self._note(Answered(time.monotonic(), self.name, attempt, code))

    # What the SDK says

    @override
    async def on_connected(self, ctx: ConnectedContext) -> None:
        """Note it."""
        self._connected = True
        self._opened = self._client._conn  # its handshake says where it is
        gateway = gateway_of(self._opened) if self._opened else ""
        self._note(Connected(time.monotonic(), self.name, gateway))

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        """Note the end of what was there before."""
        self._end(ctx.code)

    @override
    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        """Note the end."""
        self._end(ctx.code)

    def _end(self, code: int) -> None:
        if self._connected:
            self._connected = False
            if code < _FIRST_CODE:
                code = self._told() if code == _TRANSPORT_CLOSED else LEFT
            self._note(Closed(time.monotonic(), self.name, code))

    def _told(self) -> int:
        """Return the code of the close frame; the SDK does not tell it to who is just sending."""
        frame = self._opened.protocol.close_rcvd if self._opened else None
        return frame.code if frame else CUT

    def begin(self, ctx: SubscribedContext) -> None:
        """Note the beginning of a subscription."""
        position = ctx.stream_position
        self._note(
            Subscribed(
                time.monotonic(),
                self.name,
                self.channel,
                position.epoch if position else "",
                position.offset if position else 0,
                ctx.was_recovering,
                ctx.recovered,
            )
        )

    def receive(self, ctx: PublicationContext) -> None:
        """Note a publication."""
        data = json.loads(ctx.pub.data) if self._protobuf else ctx.pub.data
        self._note(
            Received(
                time.monotonic(),
                self.name,
                self.channel,
                ctx.pub.offset,
                data["id"],
                data["sent"],
            )
        )

    def unsubscribed(self, code: int) -> None:
        """Note that the server ended the subscription."""
        if code >= _FIRST_CODE:
            self._note(Unsubscribed(time.monotonic(), self.name, self.channel, code))


class _Handler(SubscriptionEventHandler):  # type: ignore[misc]
    """Tells the client what its subscription is told."""

    def __init__(self, client: SDKClient) -> None:
        self._client = client

    @override
    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        self._client.begin(ctx)

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        self._client.receive(ctx)

    @override
    async def on_subscribing(self, ctx: SubscribingContext) -> None:
        self._client.unsubscribed(ctx.code)

    @override
    async def on_unsubscribed(self, ctx: UnsubscribedContext) -> None:
        self._client.unsubscribed(ctx.code)
