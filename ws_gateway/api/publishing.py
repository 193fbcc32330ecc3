"""Publications from a backend: checked as a client's, but for who may publish."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence

from msgspec import Raw
from msgspec.structs import replace

from ws_gateway.api.messages import (
    BroadcastRequest,
    BroadcastResult,
    PublishRequest,
    PublishResponse,
    PublishResult,
)
from ws_gateway.broker.base import PublishOptions
from ws_gateway.channels import Channel
from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import BrokerUnavailable, ReplyError
from ws_gateway.node import Node
from ws_gateway.protocol.messages import ABSENT, Error, Publication
from ws_gateway.protocol.payload import read_json

MAX_KEY_LENGTH = 255
"""Of an idempotency key, or a version's epoch."""

_BATCH = 128  # publications that are on their way to the broker together
_MAX_VERSION = 2**64 - 1


class Publisher:
    """Publishes what a backend sends.

    Args:
        node: Of this process.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    async def publish(self, request: PublishRequest) -> PublishResult:
        """Publish into one channel; returns its place in the stream, if there is one.

        Raises:
            ReplyError: 102 or 107 for the channel, 107 for the data or an option, 100 if the
                broker is away; then nothing is known to be published.
        """
        channel = self._node.channels.resolve(request.channel)
        publication = Publication(data=self._payload(request, channel), tags=request.tags or None)
        options = self._options(request, channel)
        try:
            published = await self._node.broker.publish(channel.name, publication, options)
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        return PublishResult(offset=published.offset, epoch=published.epoch)

    async def broadcast(self, request: BroadcastRequest) -> BroadcastResult:
        """Publish the same into many channels; one that fails stops no other.

        Raises:
            ReplyError: 107 without a channel.
        """
        if not request.channels:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        responses: list[PublishResponse] = []
        for start in range(0, len(request.channels), _BATCH):
            batch = request.channels[start : start + _BATCH]
            responses += await self._publish_all(request, batch)
            await asyncio.sleep(0)  # the in-process broker never waits; others want their turn
        return BroadcastResult(responses=responses)

    async def _publish_all(
        self, request: BroadcastRequest, channels: Sequence[str]
    ) -> Sequence[PublishResponse]:
        return await asyncio.gather(*(self._respond(request.to(channel)) for channel in channels))

    async def _respond(self, request: PublishRequest) -> PublishResponse:
        try:
            return PublishResponse(result=await self.publish(request))
        except ReplyError as error:
            return PublishResponse(error=Error(code=error.code, message=error.message))

    def _payload(self, request: PublishRequest, channel: Channel) -> Raw:
        data = read_base64(request.b64data) if request.b64data else request.data
        options = channel.options
        if not data:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        tags = request.tags or {}
        size = len(bytes(data)) + sum(len(key) + len(value) for key, value in tags.items())
        if size > self._node.max_message_bytes:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        if request.b64data and options.binary:
            return data
        checked = read_json(data, only_objects=options.publication_data_format == "json_object")
        if checked is None:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        return checked

    def _options(self, request: PublishRequest, channel: Channel) -> PublishOptions:
        if max(len(request.idempotency_key), len(request.version_epoch)) > MAX_KEY_LENGTH:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        if request.version > _MAX_VERSION:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        if request.skip_history:
            return PublishOptions(idempotency_key=request.idempotency_key)
        options = self._node.publish_options(channel)
        return replace(
            options,
            idempotency_key=request.idempotency_key,
            version=request.version,
            version_epoch=request.version_epoch,
            use_delta=options.use_delta or (request.delta and channel.options.history),
        )


def read_base64(text: str) -> Raw:
    """Return the bytes.

    Raises:
        ReplyError: 107, it is no base64.
    """
    try:
        return Raw(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise ReplyError(ErrorCode.BAD_REQUEST) from None


def read_shown(data: Raw, b64data: str) -> bytes:
    """Return what is to be shown or told, as JSON text; empty for nothing.

    Raises:
        ReplyError: 107, it is no JSON.
    """
    given = read_base64(b64data) if b64data else data
    if not given or given is ABSENT:
        return b""
    checked = read_json(given)
    if checked is None:
        raise ReplyError(ErrorCode.BAD_REQUEST)
    return bytes(checked)
