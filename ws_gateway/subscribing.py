"""How subscriptions begin and end, whoever wishes it: a command, a token, or a backend.

First what is granted, then the broker, the stream's position and the history, then the hub and
the presence; all of that or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from ws_gateway import delivery, policy, recovery
from ws_gateway.attendance import Attendance
from ws_gateway.broker.base import Broker
from ws_gateway.channels import Channel, ChannelOptions, Channels
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.delivery import Delivery
from ws_gateway.exceptions import (
    BrokerUnavailable,
    Disconnect,
    InvalidToken,
    ReplyError,
    TokenExpired,
    TokenNotYetValid,
)
from ws_gateway.hooks import Hooks
from ws_gateway.hub import Hub
from ws_gateway.member import Member, show_to_hooks, show_to_others
from ws_gateway.protocol.messages import SubscribeRequest, SubscribeResult
from ws_gateway.recovery import Terms
from ws_gateway.streams import Joining, Streams
from ws_gateway.subscription_tokens import SubscriptionToken, SubscriptionTokens

_SUBSCRIBED = SubscribeResult()


class _Plan(msgspec.Struct, frozen=True, gc=False):
    """What a subscription is granted.

    Attributes:
        channel: To what.
        options: What is true of the channel for this subscription.
        terms: Its position; None if it has none.
        told: How it is told of publications.
    """

    channel: Channel
    options: ChannelOptions
    terms: Terms | None
    told: Delivery


class Subscribing:
    """Subscribes the connections of one process to channels.

    Args:
        broker: Brings the publications of the channels that somebody here is subscribed to.
        channels: Which channels there are.
        hub: Has the subscribers.
        streams: Those channels of which somebody has a position.
        attendance: Tells who comes and who goes.
        hooks: The operator's own code, or None.
        tokens: Judges tokens for one subscription; there are none if None.
        clock: Wall-clock seconds, for what tokens say.
        max_channels: How many a connection may be in.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        channels: Channels,
        hub: Hub,
        streams: Streams,
        attendance: Attendance,
        hooks: Hooks | None,
        tokens: SubscriptionTokens | None,
        clock: Callable[[], float],
        max_channels: int,
    ) -> None:
        self._broker = broker
        self._channels = channels
        self._hub = hub
        self._streams = streams
        self._attendance = attendance
        self._hooks = hooks
        self._tokens = tokens
        self._clock = clock
        self._max_channels = max_channels

    def personal_channels(
        self, credentials: Credentials, more: Iterable[str] = (), wished: Iterable[str] = ()
    ) -> list[str]:
        """List the channels the server subscribes these credentials to.

        Args:
            credentials: Whose.
            more: Others, that the operator's hook has named.
            wished: Others, that the client has named; those it may not subscribe to are left out.

        Raises:
            ReplyError: 102 or 107 where a claim names a channel that cannot be, 103 where it names
                another's personal channel: one issuer does not speak for another's users.
            Disconnect: 3505 for more than a connection may have, 3501 where the client names a
                channel that cannot be.
        """
        channels = list(dict.fromkeys((*credentials.channels, *more)))
        personal = self._channels.personal_channel(credentials.user)
        for channel in channels:
            if self._channels.resolve(channel).personal and channel != personal:
                raise ReplyError(ErrorCode.PERMISSION_DENIED)
        if personal is not None and personal not in channels:
            channels.append(personal)
        known = frozenset(channels)
        for channel in dict.fromkeys(wished):
            if channel not in known and self._is_entitled(credentials, channel):
                channels.append(channel)  # noqa: PERF401 - mostly there are none
        if len(channels) > self._max_channels:
            raise Disconnect(DisconnectCode.CHANNEL_LIMIT, "server-side subscriptions")
        return channels

    def _is_entitled(self, credentials: Credentials, channel: str) -> bool:
        """Whether a client that names a channel in connect is subscribed to it."""
        try:
            policy.check_subscribe(self._channels, credentials, channel)
        except ReplyError as error:
            if error.code != ErrorCode.PERMISSION_DENIED:
                raise Disconnect(DisconnectCode.BAD_REQUEST, "subs") from None
            return False
        # The operator's hook is asked for each subscribe command, which this is none of.
        return self._hooks is None or not self._hooks.checks_subscriptions

    async def subscribe(
        self, member: Member, credentials: Credentials, request: SubscribeRequest
    ) -> tuple[str, SubscribeResult, SubscriptionGrant | None]:
        """Subscribe a connection on its own wish.

        When this returns, publications follow: the caller queues its reply before it awaits.

        Returns:
            The channel's name, of which there are not to be as many copies as subscribers; the
            reply; and what a token or the operator's hook grants in particular.

        Raises:
            ReplyError: Not allowed, 100 if the broker is away, or 112 where the client wants to
                resume or nothing.
            Disconnect: 3500 for a token that is another's, or as the hook says.
        """
        grant: SubscriptionGrant | None = None
        if request.token:
            grant = self._read_grant(member, credentials, request.channel, request.token)
        channel = policy.check_subscribe(
            self._channels, credentials, request.channel, token=grant is not None
        ).name
        if self._hooks is not None:
            answer = await self._hooks.on_subscribe(
                show_to_hooks(member, credentials), channel, bytes(request.data)
            )
            if answer.info is not None or answer.data is not None:
                grant = grant or SubscriptionGrant()
                grant = replace(
                    grant, info=answer.info or grant.info, data=answer.data or grant.data
                )
        grants = {} if grant is None else {channel: grant}
        results = await self.attach(member, credentials, {channel: request}, grants)
        return channel, results[channel], grant

    def _read_grant(
        self, member: Member, credentials: Credentials, channel: str, token: str
    ) -> SubscriptionGrant:
        """Return what the token of a subscribe command grants."""
        self._channels.resolve(channel)  # a name that cannot be says more than a wrong token
        try:
            grant = self.check_token(member, credentials, channel, token).grant
        except TokenNotYetValid as error:
            raise ReplyError(ErrorCode.TOKEN_EXPIRED, error.message) from None
        except TokenExpired:
            raise ReplyError(ErrorCode.TOKEN_EXPIRED) from None
        except InvalidToken:
            raise ReplyError(ErrorCode.PERMISSION_DENIED) from None
        if grant.expires_at <= self._clock():
            raise ReplyError(ErrorCode.EXPIRED)
        return grant

    def check_token(
        self, member: Member, credentials: Credentials, channel: str, token: str
    ) -> SubscriptionToken:
        """Return what a token says that lets this connection into a channel.

        Args:
            member: The connection.
            credentials: Whose it is.
            channel: The channel it must be for; empty for the one that it names.
            token: The token.

        Raises:
            InvalidToken: It is not accepted, or none ever is.
            TokenExpired: It was good once.
            TokenNotYetValid: It will be good.
            Disconnect: 3500, it is for another channel, user or connection.
        """
        if self._tokens is None:
            raise InvalidToken("no_secret")
        verified = self._tokens.verify(token)
        if not verified.is_for(
            channel=channel or verified.channel, user=credentials.user, client=member.client
        ):
            raise Disconnect(DisconnectCode.INVALID_TOKEN, "subscription token of another")
        return verified

    async def attach(
        self,
        member: Member,
        credentials: Credentials,
        requests: Mapping[str, SubscribeRequest],
        grants: Mapping[str, SubscriptionGrant],
        *,
        server_side: bool = False,
    ) -> dict[str, SubscribeResult]:
        """Subscribe a connection to channels, all or none, without asking whether it may.

        When this returns, publications follow.

        Args:
            member: The connection.
            credentials: Whose it is.
            requests: What the client wishes of each channel.
            grants: What is granted in particular for some.
            server_side: Whether the server began these subscriptions.

        Raises:
            ReplyError: 100 if the broker is away, 107 for a filter that cannot be, 112 as the
                request wishes it.
            Disconnect: 3010, what came live meanwhile does not join with the history; 3506, what
                was missed cannot be said in the client's encoding.
        """
        joining: dict[str, Joining] = {}
        results: dict[str, SubscribeResult] = {}
        numbers = not server_side and not member.codec.binary
        plans: dict[str, _Plan] = {}
        for name, request in requests.items():
            plans[name] = self._plan(credentials, request, name, grants.get(name), numbers=numbers)
        room = recovery.MAX_BYTES  # for all of them: they are in one answer
        try:
            await self._prepare(member, requests, plans, joining)
            for name, plan in plans.items():
                if name in joining:
                    result = joining[name].finish(member, plan.told, room)
                    room -= sum(map(recovery.measure, result.publications))
                else:
                    self._hub.add(name, member, plan.told)
                    result = _SUBSCRIBED
                if plan.told.numbered:
                    result = msgspec.structs.replace(result, id=self._hub.number(name))
                results[name] = result
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        except (Disconnect, ReplyError):
            for name in results:
                self.unsubscribe(member, name)
            raise
        finally:
            for one in joining.values():
                one.abandon()
            if len(results) < len(requests):
                # What was asked for in vain, because another failed or the client has gone.
                self._give_up_unused(requests)
        for name, request in requests.items():
            self._enter(member, credentials, plans[name], request, grants.get(name))
        return results

    def unsubscribe(self, member: Member, channel: str) -> None:
        """End a subscription the connection has."""
        self._attendance.leave(channel, member.client)
        if self._hub.remove(channel, member):
            self._give_up(channel)

    def _enter(
        self,
        member: Member,
        credentials: Credentials,
        plan: _Plan,
        request: SubscribeRequest,
        grant: SubscriptionGrant | None,
    ) -> None:
        """Let presence, and the others in the channel, know of a subscription that has begun."""
        channel, options = plan.channel.name, plan.options
        if options.force_push_join_leave or (
            options.join_leave
            and request.join_leave
            and policy.may_see_presence(self._channels, credentials, plan.channel, subscribed=True)
        ):
            self._hub.watch(channel, member)
        if options.presence or options.join_leave:
            info = show_to_others(member, credentials, None if grant is None else grant.info)
            self._attendance.enter(
                channel, info, present=options.presence, announced=options.join_leave
            )

    async def _prepare(
        self,
        member: Member,
        requests: Mapping[str, SubscribeRequest],
        plans: Mapping[str, _Plan],
        joining: dict[str, Joining],
    ) -> None:
        """Subscribe the broker, and read what the subscriptions with a position begin with."""
        subscribed = self._broker.subscribed
        while True:
            # Awaiting one, another may be given up by its last subscriber: look again.
            again = False
            for name in requests:
                if not subscribed(name):
                    await self._broker.subscribe(name)
                    again = True
            if again:
                continue
            for name, plan in plans.items():
                if plan.terms is None or (name in joining and joining[name].intact):
                    continue
                if name in joining:
                    joining[name].abandon()
                joining[name] = self._streams.join(
                    name, plan.terms, requests[name], plan.options.history_meta_ttl
                )
            if not joining:
                break
            await _all([one.read() for one in joining.values() if not one.ready])
            if all(map(subscribed, requests)) and all(one.intact for one in joining.values()):
                break
        if member.closed:
            raise Disconnect(DisconnectCode.NORMAL, "gone meanwhile")

    def _plan(
        self,
        credentials: Credentials,
        request: SubscribeRequest,
        channel: str,
        grant: SubscriptionGrant | None,
        *,
        numbers: bool,
    ) -> _Plan:
        """Say what a subscription is granted."""
        resolved = self._channels.resolve(channel)
        options = resolved.options
        if grant is not None:
            options = options.overridden(grant.override)
        terms: Terms | None = None
        if options.history:
            may_read = policy.may_read_history(
                self._channels, credentials, resolved, subscribed=True
            )
            terms = recovery.agree(options, request, may_read=may_read)
        told = delivery.agree(options, request, positioned=terms is not None, numbers=numbers)
        return _Plan(resolved, options, terms, told)

    def _give_up_unused(self, channels: Iterable[str]) -> None:
        for channel in channels:
            if channel not in self._hub:
                self._give_up(channel)

    def _give_up(self, channel: str) -> None:
        self._streams.drop(channel)
        self._broker.unsubscribe(channel)


async def _all(works: list[Coroutine[Any, Any, None]]) -> None:
    """Run them side by side to their ends; raises what the first of them raised."""
    if len(works) == 1:
        await works[0]  # which may not have to wait at all
        return
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if outcome is not None:
            raise outcome
