"""The methods of the server API, whoever calls them over whatever."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from typing import Any, assert_never

import msgspec
from msgspec import Raw

from ws_gateway.api.messages import (
    METHODS,
    BatchRequest,
    BatchResult,
    BroadcastRequest,
    ChannelInfo,
    ChannelsRequest,
    ChannelsResult,
    Command,
    DisconnectRequest,
    DisconnectWith,
    HistoryRemoveRequest,
    HistoryResult,
    InfoRequest,
    InfoResult,
    Publication,
    PublishRequest,
    RefreshRequest,
    Request,
    Result,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.api.publishing import Publisher, read_shown
from ws_gateway.channels import Channel
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.control.cluster import Cluster
from ws_gateway.control.messages import (
    DescribeNode,
    Disconnect,
    ListChannels,
    Order,
    Refresh,
    Subscribe,
    Target,
    Unsubscribe,
)
from ws_gateway.descriptions import NodeInfo
from ws_gateway.exceptions import BrokerUnavailable, ReplyError
from ws_gateway.glob import compile_glob
from ws_gateway.node import Node
from ws_gateway.protocol import messages as protocol
from ws_gateway.protocol.messages import (
    EMPTY,
    Error,
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
)
from ws_gateway.protocol.payload import fits_line

MAX_CHANNELS = 10_000
"""That one node names in one answer; 106 for more."""

_MAX_COMMANDS = 1000
_PARALLEL = 64
_MAX_IDS = 10_000
_MAX_REASON_BYTES = 123  # RFC 6455 section 5.5
_FIRST_CLOSE_CODE = 3000
_MAX_OFFSET = 2**64 - 1
_NULL = Raw(b"null")

_decode_node = msgspec.json.Decoder(NodeInfo).decode
_decode_channels = msgspec.json.Decoder(dict[str, int]).decode


class Operations:
    """Carries out what a backend asks for.

    Args:
        node: Of this process.
        cluster: All nodes.

    Attributes:
        counts: How often a method had which outcome: 0, or an error's code.
    """

    def __init__(self, node: Node, cluster: Cluster) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self._node = node
        self._cluster = cluster
        self._publisher = Publisher(node)

    async def perform(self, request: Request) -> Result:
        """Carry out a request.

        Raises:
            ReplyError: It failed; the codes are those of protocol section 18.
        """
        method = METHODS[type(request)]
        try:
            result = await self._perform(request)
        except ReplyError as error:
            self.counts[method, error.code] += 1
            raise
        self.counts[method, 0] += 1
        return result

    async def _perform(self, request: Request) -> Result:
        match request:
            case PublishRequest():
                return await self._publisher.publish(request)
            case BroadcastRequest():
                return await self._publisher.broadcast(request)
            case BatchRequest():
                return await self._batch(request)
            case ChannelsRequest(pattern=pattern):
                return await self._channels(pattern)
            case InfoRequest():
                return await self._info()
            case SubscribeRequest() | UnsubscribeRequest() | DisconnectRequest() | RefreshRequest():
                await self._order(self._to_order(request))
                return EMPTY
            case (
                PresenceRequest()
                | PresenceStatsRequest()
                | HistoryRequest()
                | HistoryRemoveRequest()
            ):
                return await self._look(request)
        assert_never(request)

    # One channel

    async def _look(
        self,
        request: PresenceRequest | PresenceStatsRequest | HistoryRequest | HistoryRemoveRequest,
    ) -> Result:
        channel = self._node.channels.resolve(request.channel)
        match request:
            case PresenceRequest():
                _require(channel.options.presence)
                return await self._node.lookup.read_members(channel.name)
            case PresenceStatsRequest():
                _require(channel.options.presence)
                return await self._node.lookup.read_presence_stats(channel.name)
            case HistoryRequest():
                return await self._history(channel, request)
            case HistoryRemoveRequest():
                _require(channel.options.history)
                try:
                    await self._node.broker.remove_history(channel.name)
                except BrokerUnavailable as error:
                    raise ReplyError(ErrorCode.INTERNAL) from error
                return EMPTY
        assert_never(request)

    async def _history(self, channel: Channel, request: HistoryRequest) -> HistoryResult:
        _require(channel.options.history)
        if request.since is not None and request.since.offset > _MAX_OFFSET:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        history = await self._node.lookup.read_history(channel, request)
        return HistoryResult(
            publications=[_shown(publication) for publication in history.publications],
            offset=history.offset,
            epoch=history.epoch,
        )

    # The connections of one user

    async def _order(self, order: Order) -> None:
        (await self._cluster.ask(order)).require()

    def _to_order(
        self,
        request: SubscribeRequest | UnsubscribeRequest | DisconnectRequest | RefreshRequest,
    ) -> Order:
        # A guest has no user; the id of his connection, or of its session, is enough.
        if not (request.user or request.client or request.session):
            raise ReplyError(ErrorCode.BAD_REQUEST)
        target = Target(user=request.user, client=request.client, session=request.session)
        match request:
            case DisconnectRequest(whitelist=keep, disconnect=chosen):
                if len(keep) > _MAX_IDS:
                    raise ReplyError(ErrorCode.BAD_REQUEST)
                code, reason = _close(chosen or DisconnectWith())
                target = msgspec.structs.replace(target, keep=keep)
                return Disconnect(target=target, code=code, reason=reason)
            case UnsubscribeRequest(channel=channel):
                if channel:
                    self._node.channels.resolve(channel)
                return Unsubscribe(target=target, channel=channel)
            case RefreshRequest(expired=True):
                end = DisconnectCode.EXPIRED
                return Disconnect(target=target, code=end, reason=end.reason)
            case RefreshRequest(expire_at=expire_at, info=info):
                if expire_at < 0:
                    raise ReplyError(ErrorCode.BAD_REQUEST)
                return Refresh(target=target, expire_at=expire_at, info=self._shown(info))
            case SubscribeRequest():
                return self._to_subscribe(request, target)
        assert_never(request)

    def _to_subscribe(self, request: SubscribeRequest, target: Target) -> Subscribe:
        self._node.channels.resolve(request.channel)
        since, override, expire_at = request.recover_since, request.override, request.expire_at
        if since is not None and since.offset > _MAX_OFFSET:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        if expire_at and expire_at <= self._node.clock():
            raise ReplyError(ErrorCode.BAD_REQUEST)
        return Subscribe(
            target=target,
            channel=request.channel,
            info=self._shown(request.info, request.b64info),
            data=self._shown(request.data, request.b64data),
            override=() if override is None else override.chosen(),
            expire_at=expire_at,
            since=None if since is None else (since.offset, since.epoch),
        )

    def _shown(self, data: Raw, b64data: str = "") -> bytes:
        shown = read_shown(data, b64data)
        if len(shown) > self._node.max_message_bytes:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        return shown

    # All nodes

    async def _channels(self, pattern: str) -> ChannelsResult:
        compile_glob(pattern)  # what no node could make anything of is asked of none
        answers = await self._cluster.ask(ListChannels(pattern=pattern, limit=MAX_CHANNELS))
        found: Counter[str] = Counter()
        for answer in answers.require():
            found.update(_decode_channels(answer.result))
        return ChannelsResult(
            channels={name: ChannelInfo(num_clients=count) for name, count in found.items()}
        )

    async def _info(self) -> InfoResult:
        answers = await self._cluster.ask(DescribeNode())
        # One that is stuck must not hide the others: it is missing.
        nodes = map(_decode_node, answers.results)
        return InfoResult(nodes=sorted(nodes, key=lambda node: node.name))

    # Several at once

    async def _batch(self, request: BatchRequest) -> BatchResult:
        if not 0 < len(request.commands) <= _MAX_COMMANDS:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        room = asyncio.Semaphore(_PARALLEL)

        async def reply(command: Command) -> dict[str, Any]:
            async with room:
                done = await self._reply(command)
                await asyncio.sleep(0)  # as between the parts of a broadcast
                return done

        if not request.parallel:
            return BatchResult(replies=[await reply(each) for each in request.commands])
        return BatchResult(replies=await asyncio.gather(*map(reply, request.commands)))

    async def _reply(self, command: Command) -> dict[str, Any]:
        try:
            name, request = _only(command)
            return {name: await self.perform(request)}
        except ReplyError as error:
            return {"error": Error(code=error.code, message=error.message)}


def _only(command: Command) -> tuple[str, Request]:
    """Return the one request of a command of a batch.

    Raises:
        ReplyError: 107, there is none, or more than one.
    """
    asked = [
        (name, request)
        for name in command.__struct_fields__
        if (request := getattr(command, name)) is not None
    ]
    if len(asked) != 1:
        raise ReplyError(ErrorCode.BAD_REQUEST)
    return asked[0]


def _require(has: bool) -> None:
    if not has:
        raise ReplyError(ErrorCode.NOT_AVAILABLE)


def _shown(publication: protocol.Publication) -> Publication:
    data, b64data = publication.data, ""
    if not fits_line(data):
        data, b64data = _NULL, base64.b64encode(bytes(data)).decode()
    return Publication(
        data=data,
        b64data=b64data,
        info=publication.info,
        offset=publication.offset,
        tags=publication.tags,
    )


def _close(chosen: DisconnectWith) -> tuple[int, str]:
    """Return the close code and reason that are asked for.

    Raises:
        ReplyError: 107, such a code may not be sent, or the SDKs would not understand the reason.
    """
    code = chosen.code or DisconnectCode.FORCE_DISCONNECT
    known = {int(each): each.reason for each in DisconnectCode}
    reason = chosen.reason or known.get(code, DisconnectCode.FORCE_DISCONNECT.reason)
    if (
        code < _FIRST_CLOSE_CODE
        or len(reason.encode("utf-8", "replace")) > _MAX_REASON_BYTES
        or reason.lstrip().startswith(("{", "["))
        or not reason.isprintable()
    ):
        raise ReplyError(ErrorCode.BAD_REQUEST)
    return int(code), reason
