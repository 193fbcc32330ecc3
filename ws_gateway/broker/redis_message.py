r"""How publications are written in Redis: as messages of pub/sub, and as entries of streams.

One without an offset is published as its MessagePack form alone. One with an offset, which only
Redis knows, is put together there (``lua/publish.lua``)::

    1 OFFSET EPOCH MARK PREVIOUS-MARK LENGTH\n   MessagePack   the publication before, or nothing

The stream keeps the MessagePack form under the id ``OFFSET-MARK``.

Who came and who went is a message too, ``c1`` and a blank before a MessagePack array.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from ws_gateway.broker.base import Change, Link
from ws_gateway.protocol.messages import ABSENT, ClientInfo, Join, Leave, Publication

# The largest message a client may be allowed to send, with room for its sender's info.
_MAX_BYTES = 2**24 + 2**16
_MAX_HEAD_BYTES = 200
_NUMBERED = b"1 "
_HEAD = re.compile(rb"1 ([0-9]+) ([^ \n]*) ([0-9]+) ([0-9]+) ([0-9]+)\n")

CHANGES = b"c1 "
"""What a message about who came and went begins with; no other does."""


class _Info(Struct, frozen=True, array_like=True, gc=False):
    """``ClientInfo``; a payload that is absent is empty."""

    user: str
    client: str
    conn_info: bytes = b""
    chan_info: bytes = b""


class _Message(Struct, frozen=True, array_like=True, gc=False):
    """A publication as a MessagePack array.

    Fields may be added at the end without a new version; older gateways pass over them.

    Attributes:
        version: Of this format. A message of another one is dropped.
        data: The payload, byte for byte.
        published_at: Unix time in seconds, by the publisher's clock.
        info: Who published.
        tags: What a subscriber's filter looks at.
    """

    version: Literal[1]
    data: bytes
    published_at: float
    info: _Info | None = None
    tags: dict[str, str] | None = None


class _Change(Struct, frozen=True, array_like=True, gc=False):
    """Somebody came, or went."""

    joined: bool
    info: _Info


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode
_decode_changes = msgspec.msgpack.Decoder(list[_Change]).decode


def write_publication(publication: Publication, published_at: float) -> bytes:
    """Encode a publication that has no offset yet."""
    info = publication.info
    return _encode(
        _Message(
            version=1,
            data=bytes(publication.data),
            published_at=published_at,
            info=None if info is None else _from_info(info),
            tags=publication.tags,
        )
    )


def read_message(payload: bytes) -> tuple[Publication, Link | None, float]:
    """Decode a message of pub/sub: the publication, how it hangs on the one before, and when.

    Raises:
        ValueError: It is not one of ours.
    """
    if not payload.startswith(_NUMBERED):
        if len(payload) > _MAX_BYTES:
            raise ValueError("too long")
        message = _decode(payload)
        return _to_publication(message, 0), None, message.published_at
    if len(payload) > 2 * _MAX_BYTES:
        raise ValueError("too long")
    head = _HEAD.match(payload, 0, _MAX_HEAD_BYTES)
    if head is None:
        raise ValueError("not a head")
    offset, epoch, mark, previous, length = head.groups()
    start = head.end()
    end = start + int(length)
    if end > len(payload):
        raise ValueError("cut off")
    message = _decode(payload[start:end])
    link = Link(
        epoch=epoch.decode("ascii"),
        mark=int(mark),
        previous=int(previous),
        prev_data=Raw(_decode(payload[end:]).data) if end < len(payload) else ABSENT,
    )
    return _to_publication(message, int(offset)), link, message.published_at


def write_changes(changes: Sequence[Change]) -> bytes:
    """Encode who came and who went."""
    return CHANGES + _encode(
        [
            _Change(joined=isinstance(change, Join), info=_from_info(change.info))
            for change in changes
        ]
    )


def read_changes(payload: bytes) -> list[Change]:
    """Decode who came and who went.

    Raises:
        ValueError: It is not one of ours.
    """
    if len(payload) > 2 * _MAX_BYTES:
        raise ValueError("too long")
    return [
        Join(info=_to_info(change.info)) if change.joined else Leave(info=_to_info(change.info))
        for change in _decode_changes(memoryview(payload)[len(CHANGES) :])
    ]


def read_entry(entry: Any) -> tuple[Publication, int]:  # noqa: ANN401 - whatever Redis sends
    """Decode an entry of a stream: the publication and its mark.

    Raises:
        ValueError: It is not one of ours.
    """
    try:
        name, (_, payload) = entry
        offset, _, mark = name.partition(b"-")
        message = _decode(payload)
    except (AttributeError, TypeError) as error:
        raise ValueError("not an entry") from error
    return _to_publication(message, _number(offset)), _number(mark)


def _number(text: bytes) -> int:
    if not text.isdigit():  # int() takes signs, spaces and underscores too
        raise ValueError("not a number")
    return int(text)


def _to_publication(message: _Message, offset: int) -> Publication:
    info = message.info
    return Publication(
        data=Raw(message.data),
        info=None if info is None else _to_info(info),
        offset=offset,
        tags=message.tags,
    )


def _from_info(info: ClientInfo) -> _Info:
    return _Info(
        user=info.user,
        client=info.client,
        conn_info=bytes(info.conn_info),
        chan_info=bytes(info.chan_info),
    )


def _to_info(info: _Info) -> ClientInfo:
    return ClientInfo(
        user=info.user,
        client=info.client,
        # The very object: codecs leave out what is ABSENT, not what is empty.
        conn_info=Raw(info.conn_info) if info.conn_info else ABSENT,
        chan_info=Raw(info.chan_info) if info.chan_info else ABSENT,
    )
