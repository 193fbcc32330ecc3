"""One process: its connections, what they share, and what is done for them all."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import cast

import msgspec
from msgspec import Raw

from ws_gateway import policy
from ws_gateway.admission import AddressCount
from ws_gateway.attendance import Attendance
from ws_gateway.broker.base import PLAIN, Broker, Link, PublishOptions
from ws_gateway.channels import Channel, ChannelOptions, Channels
from ws_gateway.closes import Closes
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.deflater import Deflater
from ws_gateway.drain import drain
from ws_gateway.eviction import Eviction
from ws_gateway.exceptions import (
    BrokerUnavailable,
    ReplyError,
)
from ws_gateway.hooks import Connected, Hooks
from ws_gateway.hub import Hub
from ws_gateway.lookup import Lookup
from ws_gateway.member import Member, show_to_hooks, show_to_others
from ws_gateway.metrics import Buckets, DeliveryTimes, Metrics
from ws_gateway.presence.base import Presence
from ws_gateway.protocol import payload
from ws_gateway.protocol.messages import (
    Publication,
)
from ws_gateway.rate_limit import UNLIMITED, Rate, UserBuckets
from ws_gateway.revocations.deny_set import Kind
from ws_gateway.session import SessionLimits
from ws_gateway.streams import StreamLimits, Streams
from ws_gateway.subscribing import Subscribing
from ws_gateway.subscription_tokens import SubscriptionTokens
from ws_gateway.timers import TimerWheel
from ws_gateway.users import UserIndex
from ws_gateway.writer import Flusher, WriteLimits

logger = logging.getLogger(__name__)

_STREAM_LIMITS = StreamLimits()
_ADMITTED = Connected()
_LAST_NEWS_SECONDS = 5.0
_DEPTH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_LAST_SEEN = "last_seen"


def _none_revoked(_credentials: Credentials) -> None:
    return None


class Node:
    """One gateway process: what its connections share, and what they can ask for.

    Args:
        broker: Carries publications to the other processes.
        presence: Knows who is in which channel, in all processes.
        channels: Which channels there are.
        hooks: The operator's own code, or None.
        verify: Turns a token into credentials, or raises InvalidToken or CannotVerify.
        required_scope: The scope that credentials of an issuer must have to connect.
        subscription_tokens: Judges tokens for one subscription; there are none if None.
        metrics: Where to count.
        command_rate: How many commands each connection may send.
        user_command_rate: How many all connections of a user may send together.
        session_limits: For every connection.
        write_limits: For every connection.
        stream_limits: For every channel with history.
        connections_per_user: How many one user may have here; 0 for no limit.
        connections_per_address: How many one address may have here; 0 for no limit.
        presence_limit: How many connections a client is shown at most.
        tells_last_seen: Users may ask when others were connected last.
        max_message_bytes: Limit of one incoming message.
        version: Told to clients.
        loop: The process's event loop.
        clock: Wall-clock seconds, for what tokens say.
        compression_min_bytes: Smaller messages are never compressed.
        revoked: Says by what credentials that were verified before are denied now.

    Attributes:
        id: The node's name, in the connect reply.
        users: The connections of each user.
        addresses: How many connections each address has.
        deflater: Compresses for connections that can read it.
        closes: The connections that ended last.
        subscribing: Begins and ends their subscriptions.
        lookup: Tells them what is known of channels and users.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        presence: Presence,
        channels: Channels,
        hooks: Hooks | None,
        verify: Callable[[str], Awaitable[Credentials]],
        required_scope: Callable[[Credentials], str],
        subscription_tokens: SubscriptionTokens | None = None,
        metrics: Metrics,
        session_limits: SessionLimits,
        write_limits: WriteLimits,
        max_message_bytes: int,
        version: str,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
        command_rate: Rate = UNLIMITED,
        user_command_rate: Rate = UNLIMITED,
        stream_limits: StreamLimits = _STREAM_LIMITS,
        connections_per_user: int = 0,
        connections_per_address: int = 0,
        presence_limit: int = 1000,
        tells_last_seen: bool = False,
        compression_min_bytes: int = 0,
        revoked: Callable[[Credentials], Kind | None] = _none_revoked,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.broker = broker
        self.presence = presence
        self.channels = channels
        self.hooks = hooks
        self.verify = verify
        self.required_scope = required_scope
        self.command_rate = command_rate
        self.paces = UserBuckets(user_command_rate)
        self.metrics = metrics
        self.session_limits = session_limits
        self.write_limits = write_limits
        self.max_message_bytes = max_message_bytes
        self.version = version
        self.loop = loop
        self.clock = clock
        delivery_times = DeliveryTimes(clock)
        depths = Buckets(_DEPTH_BUCKETS)
        self.flusher = Flusher(loop.call_soon, written=delivery_times.written, look=depths.observe)
        self.hub = Hub(self.flusher.spread)
        self.timers = TimerWheel(loop)
        self.streams = Streams(
            broker=broker,
            hub=self.hub,
            deliver=self._deliver,
            lost=self._tell_lost,
            loop=loop,
            timers=self.timers,
            limits=stream_limits,
        )
        self.attendance = Attendance(presence=presence, broker=broker, loop=loop)
        self.subscribing = Subscribing(
            broker=broker,
            channels=channels,
            hub=self.hub,
            streams=self.streams,
            attendance=self.attendance,
            hooks=hooks,
            tokens=subscription_tokens,
            clock=clock,
            max_channels=session_limits.max_channels,
        )
        self.lookup = Lookup(
            broker=broker,
            presence=presence,
            channels=channels,
            history_limit=stream_limits.history,
            presence_limit=presence_limit,
            tells_last_seen=tells_last_seen,
        )
        self.deflater = Deflater(compression_min_bytes)
        self.closes = Closes()
        self.draining = False
        self._delivery_times = delivery_times
        self._published_at = 0.0
        self._subscriptions_dropped = 0
        self._members: dict[str, Member] = {}
        self.users: UserIndex[Member] = UserIndex()
        self.addresses = AddressCount(connections_per_address)
        self._per_user = connections_per_user
        self._eviction = Eviction(
            everyone=self._members,
            of_user=self.users.connections,
            revoked=revoked,
            call_soon=loop.call_soon,
        )
        self._be_measured(metrics, depths)

    def _be_measured(self, metrics: Metrics, depths: Buckets) -> None:
        hooks, presence = self.hooks, self.presence
        metrics.bytes_sent = lambda: self.flusher.bytes
        metrics.histogram(
            "gateway_message_delivery_seconds",
            "From the publication to the write to a subscriber's socket, by both clocks.",
            self._delivery_times.seconds,
        )
        metrics.histogram(
            "gateway_send_queue_depth",
            "Frames that left in one write, in a sample of the writes.",
            depths,
        )
        metrics.gauge("gateway_connections", "Open connections.", lambda: len(self._members))
        metrics.gauge(
            "gateway_subscriptions_active", "Subscriptions.", lambda: self.hub.subscriptions
        )
        metrics.counter(
            "gateway_subscriptions_dropped",
            "Subscriptions ended because their client did not read (slow_reader).",
            lambda: self._subscriptions_dropped,
        )
        metrics.gauge("gateway_channels_active", "Channels.", lambda: len(self.hub))
        metrics.counter(
            "gateway_positions_lost",
            "Times that subscribers of a channel were told of a gap.",
            lambda: self.streams.losses,
        )
        metrics.counter(
            "gateway_publications_filled",
            "Publications read from history to fill gaps.",
            lambda: self.streams.filled,
        )
        metrics.gauge(
            "gateway_presence_entries",
            "Connections of this process that presence has, in each channel.",
            lambda: len(presence),
        )
        metrics.counter(
            "gateway_joins_leaves_dropped",
            "Joins and leaves that nobody was told of.",
            lambda: self.attendance.dropped,
        )
        if hooks is not None:
            metrics.counter(
                "gateway_hook_notices_dropped",
                "Disconnects that no hook was told of, because too many waited.",
                lambda: hooks.notices_dropped,
            )
        metrics.gauge("gateway_draining", "1 while draining.", lambda: self.draining)
        metrics.counter(
            "gateway_revocation_disconnects",
            "Connections closed because their token was revoked.",
            lambda: self._eviction.closed,
        )

    async def start(self) -> None:
        """Begin to take publications from the broker."""
        await self.presence.start()
        await self.broker.start(self.on_publication, self.streams.missed, self.hub.announce)

    async def stop(self) -> None:
        """Give up everything; connections still open are cut."""
        await self.drain(0)
        self.streams.close()
        await self.attendance.finish(_LAST_NEWS_SECONDS)
        await self.presence.stop()
        await self.broker.stop()
        self.timers.close()
        if self.hooks is not None:
            await self.hooks.finish()
            self.hooks.close()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._members)

    @property
    def ready(self) -> bool:
        """Whether new connections may come."""
        return not self.draining and self.broker.ready()

    # Connections

    @property
    def by_client(self) -> Mapping[str, Member]:
        """All connections, by id, also of those who have not said who they are."""
        return MappingProxyType(self._members)

    def join(self, member: Member) -> None:
        """Register a connection."""
        self._members[member.client] = member
        self.addresses.enter(member.address)
        if self.draining:
            # Its handshake was under way when the drain began: the batches do not know it.
            self.loop.call_soon(member.disconnect, DisconnectCode.SHUTDOWN)
        self.identify(member)

    def identify(self, member: Member, before: Credentials | None = None) -> None:
        """Note whose a connection is now: whenever its credentials have changed.

        A token that was revoked since it was verified ends the connection in the next turn of the
        loop; one that is revoked from now on is found by its user.

        Args:
            member: Has joined.
            before: The credentials it had.
        """
        if before is not None:
            self.users.remove(before.user, member)
        credentials = member.credentials
        if credentials is None:
            return
        user = credentials.user
        if user:
            self.users.add(user, member)
            if self._per_user and self.users.count(user) > self._per_user:
                # Several came at once, and there was room for each of them.
                self.loop.call_soon(member.disconnect, DisconnectCode.CONNECTION_LIMIT)
        code = self._eviction.judge(member)
        if code is not None:
            self.loop.call_soon(self._eviction.close, member, code)

    def has_room_for(self, user: str) -> bool:
        """Say whether a user may have one more connection here; guests are no one user."""
        return not (user and self._per_user) or self.users.count(user) < self._per_user

    def revoked(self, users: Iterable[str] | None) -> None:
        """Close what was revoked among the connections of these users, or of all if None.

        It returns at once; the connections are closed in batches.
        """
        self._eviction.look_at(users)

    def leave(self, member: Member, channels: Iterable[str]) -> None:
        """Forget a connection and its subscriptions."""
        if self._members.pop(member.client, None) is None:
            return
        self.addresses.leave(member.address)
        if member.credentials is not None:
            self.users.remove(member.credentials.user, member)
        for channel in channels:
            self.subscribing.unsubscribe(member, channel)

    async def drain(self, seconds: float, hurry: asyncio.Event | None = None) -> None:
        """Refuse new connections, and ask the open ones to come back elsewhere (3001).

        Args:
            seconds: Over how long; 0 for all at once.
            hurry: When set, the rest goes at once.
        """
        if not self.draining:
            self.draining = True
            logger.info("draining", extra={"connections": len(self._members), "seconds": seconds})
        members = list(self._members.values())
        await drain(members, seconds=seconds, clock=self.loop.time, hurry=hurry)

    @property
    def guests(self) -> bool:
        """Whether a connection needs no credential."""
        return self.channels.allow_anonymous_connect or self.channels.insecure

    async def admit(self, member: Member, credentials: Credentials, data: Raw) -> Connected:
        """Ask the operator's hook whether a connection may be; returns what it adds.

        Raises:
            ReplyError: It may not, as the hook says, or 107 for data that is no JSON.
            Disconnect: The same, terminal.
        """
        if self.hooks is None:
            return _ADMITTED
        return await self.hooks.on_connect(show_to_hooks(member, credentials), bytes(data))

    def came(self, credentials: Credentials) -> None:
        """Note that a connection was admitted."""
        if credentials.user:
            self.presence.arrive(credentials.user)

    def gone(self, member: Member, credentials: Credentials, code: int) -> None:
        """Note that a connection which was admitted has ended, and tell the operator's hook."""
        if credentials.user:
            self.presence.depart(credentials.user)
        if self.hooks is not None:
            self.hooks.on_disconnect(show_to_hooks(member, credentials), code)

    # Publications, and calls

    async def publish(
        self,
        member: Member,
        credentials: Credentials,
        channel: str,
        data: Raw,
        *,
        subscribed: bool,
        chan_info: bytes | None = None,
    ) -> None:
        """Publish what a client sent.

        Args:
            member: The connection.
            credentials: Whose it is.
            channel: Where to.
            data: What.
            subscribed: Whether the connection is in the channel.
            chan_info: What its subscription shows to others, as JSON text.

        Raises:
            ReplyError: Not allowed, bad data, 1404 if it was for a user who is not connected, or
                100 if the broker is away; then nothing was published.
        """
        resolved = policy.check_publish(self.channels, credentials, channel, subscribed=subscribed)
        options = resolved.options
        # What a JSON client sends is JSON everywhere.
        if not (member.codec.binary and self._takes_bytes(options, data)):
            data = _read_json(data, only_objects=options.publication_data_format == "json_object")
        if self.hooks is not None and self.hooks.checks_publications:
            caller = show_to_hooks(member, credentials)
            data = Raw(await self.hooks.on_publish(caller, channel, bytes(data)))
        info = show_to_others(member, credentials, chan_info)
        try:
            published = await self.broker.publish(
                channel, Publication(data=data, info=info), self.publish_options(resolved)
            )
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        if resolved.personal and not published.receivers:
            raise ReplyError(ErrorCode.NOT_CONNECTED)

    def _takes_bytes(self, options: ChannelOptions, data: Raw) -> bool:
        """Whether a Protobuf client may publish this, JSON or not."""
        if options.binary:
            return True
        # Centrifugo lets any bytes pass where the namespace says nothing of the format, and the
        # suites of several SDKs publish plain text there. One client could disconnect all JSON
        # clients of a channel like that; so it is for those suites only.
        return self.channels.insecure and not options.publication_data_format and bool(data)

    def on_publication(
        self,
        channel: str,
        publication: Publication,
        link: Link | None = None,
        published_at: float = 0,
    ) -> None:
        """Deliver what the broker brought.

        Args:
            channel: Of the publication.
            publication: What.
            link: How it hangs on the one before; None without history.
            published_at: Unix time by the publisher's clock; 0 for just now.
        """
        # Only what is delivered at once has a time; what history fills a gap with comes late for
        # reasons of its own.
        self._published_at = published_at or self.clock()
        try:
            self.streams.receive(channel, publication, link)
        finally:
            self._published_at = 0.0

    async def call(self, member: Member, credentials: Credentials, method: str, data: Raw) -> bytes:
        """Call a method, one of the operator's or ``last_seen``; returns JSON.

        Raises:
            ReplyError: 108 without hooks, else what the method says.
        """
        if data:
            data = _read_json(data)
        if method == _LAST_SEEN and self.lookup.tells_last_seen and not self._is_hooked(method):
            return await self._answer_last_seen(credentials, data)
        if self.hooks is None:
            raise ReplyError(ErrorCode.NOT_AVAILABLE)
        return await self.hooks.call(show_to_hooks(member, credentials), method, bytes(data))

    def _is_hooked(self, method: str) -> bool:
        return self.hooks is not None and self.hooks.has(method)

    async def _answer_last_seen(self, credentials: Credentials, data: Raw) -> bytes:
        if not (credentials.user or self.channels.insecure):
            raise ReplyError(ErrorCode.PERMISSION_DENIED)
        try:
            user = msgspec.json.decode(data, type=_LastSeen).user
        except msgspec.MsgspecError:
            raise ReplyError(ErrorCode.BAD_REQUEST) from None
        return msgspec.json.encode({"user": user, "last_seen": await self.lookup.last_seen(user)})

    def publish_options(self, channel: Channel) -> PublishOptions:
        """Say how a publication into a channel is kept."""
        options = channel.options
        if not options.history:
            return PLAIN
        return PublishOptions(
            history_size=options.history_size,
            history_ttl=options.history_ttl,
            history_meta_ttl=options.history_meta_ttl,
            use_delta=options.delta_publish,
            seen=self.streams.position(channel.name),
        )

    def _deliver(self, channel: str, publication: Publication, previous: Raw) -> None:
        receivers = self.hub.broadcast(channel, publication, previous)
        self.metrics.messages_sent += receivers
        if receivers and self._published_at:
            self._delivery_times.add(self._published_at, receivers)
        for subscriber in self.hub.take_left_out():
            self._subscriptions_dropped += 1
            cast("Member", subscriber).miss(channel)

    def drops_for_slow(self, channel: str) -> bool:
        """Say whether publications of a channel are left out for who does not read."""
        return self.channels.resolve(channel).options.slow_reader == "drop"

    def _tell_lost(self, channel: str) -> None:
        for subscriber in self.hub.subscribers(channel):
            cast("Member", subscriber).lose_position(channel)  # nobody else is in the hub


class _LastSeen(msgspec.Struct):
    """What a client asks with."""

    user: str


def _read_json(data: Raw, *, only_objects: bool = False) -> Raw:
    checked = payload.read_json(data, only_objects=only_objects)
    if checked is None:
        raise ReplyError(ErrorCode.BAD_REQUEST)
    return checked
