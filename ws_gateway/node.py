"""The operations of one process, the same for whoever asks for them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import msgspec
from msgspec import Raw

from ws_gateway import policy
from ws_gateway.broker.base import Broker
from ws_gateway.channels import Channels
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, Disconnect, ReplyError
from ws_gateway.hooks import Caller, Hooks
from ws_gateway.hub import Hub, Subscriber
from ws_gateway.metrics import Metrics
from ws_gateway.protocol.messages import ABSENT, ClientInfo, Publication
from ws_gateway.session import SessionLimits
from ws_gateway.timers import TimerWheel
from ws_gateway.writer import Flusher, WriteLimits

logger = logging.getLogger(__name__)

_DRAIN_STEPS_PER_SECOND = 20


class Member(Subscriber, Protocol):
    """A connection, as far as the node knows it."""

    client: str
    closed: bool

    def disconnect(self, code: DisconnectCode, detail: str = "") -> None:
        """End the connection."""


class Node:
    """One gateway process: what its connections share, and what they can ask for.

    Args:
        broker: Carries publications to the other processes.
        channels: Which channels there are.
        hooks: The operator's methods, or None.
        verify: Turns a token into credentials, or raises InvalidToken or KeysUnavailable.
        required_scope: The scope that credentials of an issuer must have to connect.
        metrics: Where to count.
        session_limits: For every connection.
        write_limits: For every connection.
        max_message_bytes: Limit of one incoming message.
        version: Told to clients.
        loop: The process's event loop.
        clock: Wall-clock seconds, for what tokens say.

    Attributes:
        id: The node's name, in the connect reply.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        channels: Channels,
        hooks: Hooks | None,
        verify: Callable[[str], Awaitable[Credentials]],
        required_scope: Callable[[Credentials], str],
        metrics: Metrics,
        session_limits: SessionLimits,
        write_limits: WriteLimits,
        max_message_bytes: int,
        version: str,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.broker = broker
        self.channels = channels
        self.hooks = hooks
        self.verify = verify
        self.required_scope = required_scope
        self.metrics = metrics
        self.session_limits = session_limits
        self.write_limits = write_limits
        self.max_message_bytes = max_message_bytes
        self.version = version
        self.loop = loop
        self.clock = clock
        self.hub = Hub()
        self.flusher = Flusher(loop.call_soon)
        self.timers = TimerWheel(loop)
        self.draining = False
        self._members: dict[str, Member] = {}
        metrics.gauge("gateway_connections", "Open connections.", lambda: len(self._members))
        metrics.gauge(
            "gateway_subscriptions_active", "Subscriptions.", lambda: self.hub.subscriptions
        )
        metrics.gauge("gateway_channels_active", "Channels.", lambda: len(self.hub))
        metrics.gauge("gateway_draining", "1 while draining.", lambda: self.draining)

    async def start(self) -> None:
        """Begin to take publications from the broker."""
        await self.broker.start(self.on_publication)

    async def stop(self) -> None:
        """Give up everything; connections still open are cut."""
        await self.drain(0)
        await self.broker.stop()
        self.timers.close()
        if self.hooks is not None:
            self.hooks.close()

    @property
    def ready(self) -> bool:
        """Whether new connections may come."""
        return not self.draining and self.broker.ready()

    # Connections

    def join(self, member: Member) -> None:
        """Register a connection."""
        self._members[member.client] = member
        if self.draining:
            # Its handshake was under way when the drain began: the batches do not know it.
            self.loop.call_soon(member.disconnect, DisconnectCode.SHUTDOWN)

    def leave(self, member: Member, channels: Iterable[str]) -> None:
        """Forget a connection and its subscriptions."""
        if self._members.pop(member.client, None) is None:
            return
        for channel in channels:
            self._detach(channel, member)

    async def drain(self, seconds: float, hurry: asyncio.Event | None = None) -> None:
        """Refuse new connections, and ask the open ones to come back elsewhere (3001).

        Args:
            seconds: Over how long, in even batches; 0 for all at once.
            hurry: When set, the rest goes at once.
        """
        self.draining = True
        members = list(self._members.values())
        random.shuffle(members)  # neighbours in time tend to be neighbours in channels
        batch = max(1, -(-len(members) // max(1, int(seconds * _DRAIN_STEPS_PER_SECOND))))
        for start in range(0, len(members), batch):
            for member in members[start : start + batch]:
                member.disconnect(DisconnectCode.SHUTDOWN)
            if seconds and not (hurry is not None and hurry.is_set()):
                await _pause(1 / _DRAIN_STEPS_PER_SECOND, hurry)

    # Channels

    def personal_channels(self, credentials: Credentials) -> list[str]:
        """List the channels the server subscribes these credentials to.

        Raises:
            ReplyError: 102 or 107 where a claim names a channel that cannot be, 103 where it names
                another's personal channel: one issuer does not speak for another's users.
            Disconnect: 3505 for more than a connection may have.
        """
        channels = list(dict.fromkeys(credentials.channels))
        personal = self.channels.personal_channel(credentials.user)
        for channel in channels:
            if self.channels.resolve(channel).personal and channel != personal:
                raise ReplyError(ErrorCode.PERMISSION_DENIED)
        if personal is not None and personal not in channels:
            channels.append(personal)
        if len(channels) > self.session_limits.max_channels:
            raise Disconnect(DisconnectCode.CHANNEL_LIMIT, "server-side subscriptions")
        return channels

    async def subscribe(self, member: Member, credentials: Credentials, channel: str) -> None:
        """Subscribe a connection on its own wish.

        When this returns, publications follow: the caller queues its reply before it awaits.

        Raises:
            ReplyError: Not allowed, or 100 if the broker is away.
        """
        policy.check_subscribe(self.channels, credentials, channel)
        await self.attach(member, [channel])

    async def attach(self, member: Member, channels: list[str]) -> None:
        """Subscribe a connection to channels, all or none, without asking the policy.

        Raises:
            ReplyError: 100 if the broker is away.
        """
        try:
            # Awaiting one, another may be given up by its last subscriber: look again.
            while missing := [name for name in channels if not self.broker.subscribed(name)]:
                for name in missing:
                    await self.broker.subscribe(name)
            if member.closed:
                raise Disconnect(DisconnectCode.NORMAL, "gone meanwhile")
            for name in channels:
                self.hub.add(name, member)
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        finally:
            # What was asked for in vain, because another failed or the client has gone.
            for name in channels:
                if name not in self.hub:
                    self.broker.unsubscribe(name)

    def unsubscribe(self, member: Member, channel: str) -> None:
        """End a subscription the connection has."""
        self._detach(channel, member)

    async def publish(
        self, member: Member, credentials: Credentials, channel: str, data: Raw, *, subscribed: bool
    ) -> None:
        """Publish what a client sent.

        Raises:
            ReplyError: Not allowed, bad data, 1404 if it was for a user who is not connected, or
                100 if the broker is away; then nothing was published.
        """
        resolved = policy.check_publish(self.channels, channel, subscribed=subscribed)
        if not data or not member.codec.check_data(data):
            raise ReplyError(ErrorCode.BAD_REQUEST)
        info = ClientInfo(
            user=credentials.user,
            client=member.client,
            conn_info=Raw(credentials.info) if credentials.info else ABSENT,
        )
        try:
            published = await self.broker.publish(channel, Publication(data=data, info=info))
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        if resolved.personal and not published.receivers:
            raise ReplyError(ErrorCode.NOT_CONNECTED)

    def on_publication(self, channel: str, publication: Publication) -> None:
        """Deliver what the broker brought."""
        self.metrics.messages_sent += self.hub.broadcast(channel, publication)

    def check_feature(self, channel: str) -> None:
        """Refuse what no namespace offers.

        Raises:
            ReplyError: 102 or 107 for the name, else 108.
        """
        self.channels.resolve(channel)
        raise ReplyError(ErrorCode.NOT_AVAILABLE)

    async def call(self, member: Member, credentials: Credentials, method: str, data: Raw) -> bytes:
        """Call one of the operator's methods; returns JSON.

        Raises:
            ReplyError: 108 without hooks, else what the hook says.
        """
        if self.hooks is None:
            raise ReplyError(ErrorCode.NOT_AVAILABLE)
        if data and not member.codec.check_data(data):
            raise ReplyError(ErrorCode.BAD_REQUEST)
        caller = Caller(
            user=credentials.user,
            client=member.client,
            scopes=credentials.scopes,
            info=msgspec.json.decode(credentials.info) if credentials.info else None,
        )
        return await self.hooks.call(caller, method, bytes(data))

    def _detach(self, channel: str, member: Member) -> None:
        if self.hub.remove(channel, member):
            self.broker.unsubscribe(channel)


async def _pause(seconds: float, hurry: asyncio.Event | None) -> None:
    if hurry is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(hurry.wait(), seconds)
    except TimeoutError:
        return
