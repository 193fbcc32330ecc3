"""What can be looked up and changes nothing: history, presence, when a user was here last."""

from __future__ import annotations

from ws_gateway import policy, recovery
from ws_gateway.broker.base import Broker, HistoryFilter
from ws_gateway.channels import Channel, Channels
from ws_gateway.codes import ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, ReplyError
from ws_gateway.presence.base import Presence
from ws_gateway.protocol.messages import (
    HistoryRequest,
    HistoryResult,
    PresenceResult,
    PresenceStatsResult,
)


class Lookup:
    """Looks up what the broker and presence know, for clients and for backends.

    Args:
        broker: Has the history.
        presence: Knows who is in which channel, and when users were connected last.
        channels: Which channels there are.
        history_limit: How many publications are shown at most.
        presence_limit: How many connections are shown at most.
        tells_last_seen: Whether it is told when a user was connected last.

    Attributes:
        tells_last_seen: See above.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        presence: Presence,
        channels: Channels,
        history_limit: int,
        presence_limit: int,
        tells_last_seen: bool,
    ) -> None:
        self.tells_last_seen = tells_last_seen
        self._broker = broker
        self._presence = presence
        self._channels = channels
        self._history_limit = history_limit
        self._presence_limit = presence_limit

    async def history(
        self, credentials: Credentials, request: HistoryRequest, *, subscribed: bool
    ) -> HistoryResult:
        """Read what a channel has kept.

        Args:
            credentials: Who asks.
            request: For what.
            subscribed: Whether the connection is in the channel.

        Raises:
            ReplyError: Not allowed, 107 for what can never be, 112 for a position of another
                epoch, or 100 if the broker is away.
        """
        channel = policy.check_history(
            self._channels, credentials, request.channel, subscribed=subscribed
        )
        return await self.read_history(channel, request)

    async def read_history(self, channel: Channel, request: HistoryRequest) -> HistoryResult:
        """Read what a channel has kept, whoever asks.

        Raises:
            ReplyError: As :meth:`history`, but that everybody may.
        """
        since, most = request.since, self._history_limit
        if since is not None and request.reverse and not since.offset:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        wanted = HistoryFilter(
            limit=request.limit if 0 <= request.limit <= most else most,
            since=None if since is None else since.offset,
            reverse=request.reverse,
        )
        try:
            history = await self._broker.history(
                channel.name, wanted, meta_ttl=channel.options.history_meta_ttl
            )
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        position = history.position
        if since is not None and since.epoch and since.epoch != position.epoch:
            raise ReplyError(ErrorCode.UNRECOVERABLE_POSITION)
        return HistoryResult(
            publications=recovery.fitting(history.publications),
            epoch=position.epoch,
            offset=position.offset,
        )

    async def members(
        self, credentials: Credentials, channel: str, *, subscribed: bool
    ) -> PresenceResult:
        """List who is in a channel.

        Args:
            credentials: Who asks.
            channel: For which.
            subscribed: Whether the connection is in it.

        Raises:
            ReplyError: Not allowed, 106 for more than can be shown, or 100 if the broker is away.
        """
        policy.check_presence(self._channels, credentials, channel, subscribed=subscribed)
        return await self.read_members(channel)

    async def read_members(self, channel: str) -> PresenceResult:
        """List who is in a channel, whoever asks.

        Raises:
            ReplyError: 106 for more than can be shown, or 100 if the broker is away.
        """
        try:
            members = await self._presence.members(channel, self._presence_limit)
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        if members is None:
            raise ReplyError(ErrorCode.LIMIT_EXCEEDED)
        return PresenceResult(presence=dict(members))

    async def presence_stats(
        self, credentials: Credentials, channel: str, *, subscribed: bool
    ) -> PresenceStatsResult:
        """Count who is in a channel; see :meth:`members`, but that there is no limit.

        Raises:
            ReplyError: Not allowed, or 100 if the broker is away.
        """
        policy.check_presence(self._channels, credentials, channel, subscribed=subscribed)
        return await self.read_presence_stats(channel)

    async def read_presence_stats(self, channel: str) -> PresenceStatsResult:
        """Count who is in a channel, whoever asks.

        Raises:
            ReplyError: 100 if the broker is away.
        """
        try:
            stats = await self._presence.stats(channel)
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        return PresenceStatsResult(num_clients=stats.clients, num_users=stats.users)

    async def last_seen(self, user: str) -> float | None:
        """Return when a user was last connected, see ``Presence``; None if nobody knows.

        Raises:
            ReplyError: 108 where it is not kept, or 100 if the broker is away.
        """
        if not self.tells_last_seen:
            raise ReplyError(ErrorCode.NOT_AVAILABLE)
        try:
            return await self._presence.last_seen(user)
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
