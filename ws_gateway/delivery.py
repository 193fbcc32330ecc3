"""How one subscription is told of publications: by number or name, as patches, or only some.

Pure: what was agreed on, and what a past publication looks like then.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from ws_gateway import delta
from ws_gateway.channel_options import ChannelOptions
from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ReplyError
from ws_gateway.protocol.codec import Codec
from ws_gateway.protocol.messages import Publication, SubscribeRequest
from ws_gateway.tags import BadFilter, Filter, compile_filter, wanted

_NUMBERED = 1  # a bit of the request's flag
_CACHED_PATCHES = 1024
_MAX_CACHED_BYTES = 8192  # of the two payloads of one


class Delivery(NamedTuple):
    """How one subscription is told.

    Attributes:
        numbered: Pushes carry the channel's number instead of its name.
        delta: Payloads may be patches; never together with ``wants``, because a patch is of the
            publication before.
        based: It has the payload before the next publication, so that may be a patch already.
        wants: Says by the tags which publications it is told of; all if None.
    """

    numbered: bool = False
    delta: bool = False
    based: bool = False
    wants: Filter | None = None


BY_NAME = Delivery()


def agree(
    options: ChannelOptions, request: SubscribeRequest, *, positioned: bool, numbers: bool
) -> Delivery:
    """Say how a subscription is told.

    Args:
        options: The channel's.
        request: What the client wishes.
        positioned: Whether it has a position. Without one nobody knows what it has, so it is
            given no patches.
        numbers: Whether the client may be told the channel's number in place of its name. SDKs
            know what the server began by name only, and the one for JavaScript reads a number out
            of Protobuf as an object, in which it does not recognise the channel.

    Raises:
        ReplyError: 107 for a filter where there are none, or one that is none.
    """
    wants = None
    if request.tf is not None:
        if not options.allow_tags_filter:
            raise ReplyError(ErrorCode.BAD_REQUEST)
        try:
            wants = compile_filter(request.tf)
        except BadFilter:
            raise ReplyError(ErrorCode.BAD_REQUEST) from None
    numbered = bool(request.flag & _NUMBERED) and numbers
    delta = positioned and wants is None and request.delta in options.allowed_delta_types
    if not numbered and not delta and wants is None:
        return BY_NAME
    return Delivery(numbered=numbered, delta=delta, wants=wants)


def select(delivery: Delivery, publications: tuple[Publication, ...]) -> tuple[Publication, ...]:
    """Leave out the past publications that a subscription does not want."""
    wants = delivery.wants
    if wants is None:
        return publications
    return tuple(one for one in publications if wanted(wants, one.tags))


def write_past(
    delivery: Delivery, codec: Codec, publications: tuple[Publication, ...]
) -> tuple[Publication, ...]:
    """Write past publications that follow one another: the first whole, the next as patches.

    Raises:
        Disconnect: 3506 for a payload that cannot be said in the encoding.
    """
    if not delivery.delta:
        return publications
    written = []
    previous = b""
    for publication in publications:
        payload = bytes(publication.data)
        written.append(write(publication, codec, patch(previous, payload)))
        previous = payload
    return tuple(written)


def write(publication: Publication, codec: Codec, change: bytes | None) -> Publication:
    """Write a publication for subscriptions whose payloads may be patches.

    Args:
        publication: As it was published.
        codec: Their encoding.
        change: The patch they are given instead of the payload; None for the payload.

    Raises:
        Disconnect: 3506 for a payload that cannot be said in the encoding.
    """
    data = codec.delta_data(publication.data, change)
    return replace(publication, data=data, delta=change is not None)


def patch(previous: bytes, payload: bytes) -> bytes | None:
    """Return what makes a payload of the one before; None where that saves nothing.

    A crowd that comes back asks for the same patches, so small ones are kept for a while.
    """
    if not previous:
        return None
    if len(previous) + len(payload) > _MAX_CACHED_BYTES:
        return delta.create(previous, payload)
    return _patch_small(previous, payload)


_patch_small = lru_cache(_CACHED_PATCHES)(delta.create)
