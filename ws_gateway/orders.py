"""What the operator orders, carried out on the connections of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from heapq import nsmallest
from itertools import islice
from math import inf
from typing import Any, cast

import msgspec
from msgspec import Raw

from ws_gateway.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from ws_gateway.connection import Connection, whole_seconds
from ws_gateway.control.messages import (
    DescribeNode,
    Disconnect as DisconnectOrder,
    ListChannels,
    ListCloses,
    ListConnections,
    Order,
    Refresh,
    ShowConnection,
    Subscribe,
    Target,
    Unsubscribe,
)
from ws_gateway.credentials import OVERRIDABLE, SubscriptionGrant
from ws_gateway.descriptions import Costs, NodeInfo, describe, summarize
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.glob import compile_glob
from ws_gateway.node import Node
from ws_gateway.protocol.messages import (
    ABSENT,
    Push,
    Refresh as RefreshPush,
    Reply,
    Subscribe as SubscribePush,
    SubscribeRequest,
    SubscribeResult,
)
from ws_gateway.session import SubscriptionKind

_BATCH = 40  # closes of one turn of the loop, as in an eviction
_DETAIL = "server API"

_encode = msgspec.json.Encoder().encode
_DONE = b"{}"


class Orders:
    """Carries orders out in one process.

    Args:
        node: The process's.
        costs: Measures it.
    """

    def __init__(self, node: Node, costs: Costs | None = None) -> None:
        self._node = node
        self._costs = costs or Costs()
        self._begun = node.loop.time()

    async def perform(self, order: Order) -> bytes:
        """Carry an order out; returns what was asked for as JSON.

        Raises:
            ReplyError: It cannot be done, here or for one of the connections.
        """
        match order:
            case DisconnectOrder():
                await self._disconnect(order)
            case Subscribe():
                await self._on_each(order.target, lambda one: _subscribe(one, order))
            case Unsubscribe():
                await self._on_each(order.target, lambda one: _unsubscribe(one, order.channel))
            case Refresh():
                await self._on_each(order.target, lambda one: _refresh(one, order))
            case _:
                return _encode(self._look(order))
        return _DONE

    def _look(
        self,
        order: DescribeNode | ListChannels | ListConnections | ShowConnection | ListCloses,
    ) -> Any:  # noqa: ANN401 - each kind has its own
        """Answer what changes nothing."""
        node = self._node
        match order:
            case DescribeNode():
                return self._describe()
            case ListChannels(pattern=pattern, limit=limit):
                return self._list_channels(pattern, limit)
            case ListConnections(user=user, after=after, limit=limit):
                found = node.by_client if user is None else self._ids_of(user)
                ids = nsmallest(limit, (name for name in found if name > after))
                return [summarize(self._connection(name)) for name in ids]
            case ShowConnection(client=client):
                return [describe(self._connection(client))] if client in node.by_client else []
            case ListCloses(user=user, code=code, limit=limit):
                closes = islice(node.closes.find(user=user, code=code), limit)
                return [msgspec.structs.replace(close, node=node.id) for close in closes]

    def _describe(self) -> NodeInfo:
        node = self._node
        return NodeInfo(
            uid=node.id,
            name=self._costs.name,
            version=node.version,
            num_clients=len(node.by_client),
            num_users=len(node.users),
            num_subs=node.hub.subscriptions,
            num_channels=len(node.hub),
            uptime=int(node.loop.time() - self._begun),
            process=self._costs.measure(),
        )

    def _list_channels(self, pattern: str, limit: int) -> dict[str, int]:
        hub = self._node.hub
        names: Iterable[str] = hub.channels()
        if pattern:
            matches = compile_glob(pattern)
            names = filter(matches, names)
        found = {name: hub.count(name) for name in islice(names, limit + 1)}
        if len(found) > limit:
            raise ReplyError(ErrorCode.LIMIT_EXCEEDED)
        return found

    # Whom it concerns

    def _connection(self, client: str) -> Connection:
        return cast("Connection", self._node.by_client[client])  # nothing else joins a node

    def _ids_of(self, user: str) -> list[str]:
        if user:
            return [member.client for member in self._node.users.connections(user)]
        return [name for name in self._node.by_client if not _user(self._connection(name))]

    def _find(self, target: Target) -> list[Connection]:
        """List the connections that an order is for, and that are known to be the user's."""
        if target.client:
            found = self._node.by_client.get(target.client)
            ids = [] if found is None else [target.client]
        else:
            ids = self._ids_of(target.user)
        keep = set(target.keep)
        return [
            one
            for one in map(self._connection, ids)
            if one.credentials is not None
            and one.credentials.user == target.user
            and one.client not in keep
            and target.session in ("", one.emulated)
        ]

    # What is done to it

    async def _disconnect(self, order: DisconnectOrder) -> None:
        for number, connection in enumerate(self._find(order.target), 1):
            connection.end(Disconnect(order.code, _DETAIL, reason=order.reason))
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    async def _on_each(self, target: Target, do: Any) -> None:  # noqa: ANN401
        failed: list[ReplyError] = []

        def work(connection: Connection) -> Any:  # noqa: ANN401
            async def perform() -> None:
                if not connection.session.begun:
                    return  # it is about to connect, and to be told what is so by then
                try:
                    await do(connection)
                except ReplyError as error:
                    failed.append(error)

            return perform

        connections = self._find(target)
        await asyncio.gather(*(one.perform(work(one)) for one in connections))
        if failed:
            raise failed[0]


def _user(connection: Connection) -> str:
    return connection.credentials.user if connection.credentials is not None else ""


async def _subscribe(connection: Connection, order: Subscribe) -> None:
    session, node, credentials = connection.session, connection.node, connection.credentials
    channel = order.channel
    if credentials is None or channel in session.channels:
        return
    if len(session.channels) >= session.max_channels:
        raise ReplyError(ErrorCode.LIMIT_EXCEEDED)
    grant = SubscriptionGrant(
        info=order.info or None,
        data=order.data or None,
        override=tuple(one for one in order.override if one[0] in OVERRIDABLE),
        expires_at=order.expire_at or inf,
    )
    request = SubscribeRequest(channel=channel)
    if order.since is not None:
        offset, epoch = order.since
        request = SubscribeRequest(channel=channel, recover=True, offset=offset, epoch=epoch)
    results = await node.subscribing.attach(
        connection, credentials, {channel: request}, {channel: grant}, server_side=True
    )
    result = results[channel]
    kind = SubscriptionKind.POSITIONED if result.positioned else SubscriptionKind.PLAIN
    session.subscribed(channel, kind | SubscriptionKind.SERVER_SIDE)
    lifetime = grant.expires_at - node.clock()
    session.granted(node.loop.time(), channel, grant, lifetime=lifetime, server_side=True)
    connection.reschedule()
    _tell(connection, channel, result, grant)


def _tell(
    connection: Connection, channel: str, result: SubscribeResult, grant: SubscriptionGrant
) -> None:
    """Tell the client of a subscription, and hand it what it had missed."""
    codec = connection.codec
    offset = result.offset
    if result.publications:
        # Where the publications that follow begin.
        offset = result.publications[0].offset - 1
    begin = SubscribePush(
        recoverable=result.recoverable,
        epoch=result.epoch,
        offset=offset,
        positioned=result.positioned,
        data=Raw(grant.data) if grant.data else ABSENT,
    )
    connection.send(codec.encode(Reply(push=Push(channel=channel, subscribe=begin))))
    for publication in result.publications:
        connection.send(codec.encode(Reply(push=Push(channel=channel, pub=publication))))


async def _unsubscribe(connection: Connection, channel: str) -> None:
    held = connection.session.channels
    for name in [channel] if channel else list(held):
        if name in held:
            connection.end_subscription(name, UnsubscribeCode.SERVER)


async def _refresh(connection: Connection, order: Refresh) -> None:
    session, node, credentials = connection.session, connection.node, connection.credentials
    if credentials is None:
        return
    if order.info:
        session.credentials = replace(credentials, info=order.info)
    if not order.expire_at:
        return
    lifetime = order.expire_at - node.clock()
    if lifetime <= 0:
        raise Disconnect(DisconnectCode.EXPIRED, _DETAIL)
    session.extended(node.loop.time(), lifetime)
    connection.reschedule()
    # One that came with its credential in the handshake has nothing to refresh with.
    if session.expires_with_grace:
        push = RefreshPush(expires=True, ttl=whole_seconds(lifetime))
        connection.send(connection.codec.encode(Reply(push=Push(refresh=push))))
