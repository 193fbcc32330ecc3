"""How a subscription begins: where in the stream, and with what it had missed.

Pure: a stream's history and what came live while it was read go in, the reply comes out.
"""

from __future__ import annotations

from typing import NamedTuple

from ws_gateway.broker.base import POSITION_ONLY, History, HistoryFilter, Position
from ws_gateway.channel_options import ChannelOptions
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.delivery import BY_NAME, Delivery, select
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.protocol.messages import Publication, SubscribeRequest, SubscribeResult

_REJECT_UNRECOVERED = 2  # a bit of the request's flag
_LATEST = HistoryFilter(limit=1, reverse=True)
_FRAME_BYTES = 200  # of a publication, beside what is of no fixed length

MAX_BYTES = 1_000_000
"""What a client may be resumed with in one answer: some SDKs read no message over 1 MiB."""


class Live(NamedTuple):
    """A publication that came while history was read."""

    publication: Publication
    epoch: str
    mark: int


class Terms(NamedTuple):
    """What a subscription to a channel with history is granted.

    Attributes:
        recoverable: It can be resumed where it broke off; else it is only told of gaps.
        cache: Resuming means the latest publication, not all that was missed.
        auto: A new subscription begins with the latest publication too.
    """

    recoverable: bool
    cache: bool
    auto: bool


def agree(options: ChannelOptions, request: SubscribeRequest, *, may_read: bool) -> Terms | None:
    """Say what a subscription is granted; None for one that no position belongs to.

    Args:
        options: The channel's.
        request: What the client wishes.
        may_read: Whether the client is allowed to read the history.
    """
    if not options.history:
        return None
    recoverable = options.force_recovery or (
        request.recoverable and (options.allow_recovery or may_read)
    )
    positioned = options.force_positioning or (
        request.positioned and (options.allow_positioning or may_read)
    )
    if not recoverable and not positioned:
        return None
    cache = recoverable and options.force_recovery_mode == "cache"
    return Terms(recoverable, cache, cache and options.auto_cache_recover)


def needed(terms: Terms, request: SubscribeRequest, limit: int) -> HistoryFilter:
    """Say which publications must be read to begin.

    Args:
        terms: What is granted.
        request: What the client wishes.
        limit: How many a client may be resumed with.
    """
    if terms.cache and (request.recover or terms.auto):
        return _LATEST
    if terms.recoverable and request.recover:
        return HistoryFilter(limit=limit, since=request.offset)
    return POSITION_ONLY


def begin(
    terms: Terms,
    request: SubscribeRequest,
    history: History,
    live: list[Live],
    *,
    told: Delivery = BY_NAME,
    max_bytes: int = MAX_BYTES,
) -> tuple[SubscribeResult, Position]:
    """Return the reply, and the position after it: what comes live up to there is known already.

    Args:
        terms: What is granted.
        request: What the client wishes.
        history: What :func:`needed` asked for.
        live: What has come since before it was read, in order.
        told: What the client wants of it.
        max_bytes: How much it may be resumed with; where more was missed, it cannot be.

    Raises:
        ReplyError: 112, the client wants no subscription that cannot be resumed.
        Disconnect: 3010, what came live does not join with the history.
    """
    position, fresh = _join(history, live)
    recovering = terms.recoverable and (request.recover or terms.auto)
    recovered: tuple[Publication, ...] | None = None
    if recovering and terms.cache:
        recovered = _latest(request, history, position, fresh)
    elif recovering:
        recovered = _missed(request, history, fresh)
    if recovered is not None:
        recovered = select(told, recovered)
        if sum(map(measure, recovered)) > max_bytes:
            recovered = None
    if request.recover and recovering and recovered is None and request.flag & _REJECT_UNRECOVERED:
        raise ReplyError(ErrorCode.UNRECOVERABLE_POSITION)
    result = SubscribeResult(
        recoverable=terms.recoverable,
        positioned=True,
        epoch=position.epoch,
        # SDKs count from here while they process what was recovered: were it the top, one that
        # breaks off in between would never ask for the rest.
        offset=request.offset if recovered else position.offset,
        publications=recovered or (),
        recovered=recovered is not None,
        was_recovering=recovering,
    )
    return result, position


def measure(publication: Publication) -> int:
    """Say how many bytes a publication takes in an answer, at most."""
    data, info = bytes(publication.data), publication.info
    # In a string, as some are given it, each of these takes one more.
    size = _FRAME_BYTES + len(data) + data.count(b'"') + data.count(b"\\")
    if info is not None:
        size += 6 * len(info.user) + len(info.client) + len(info.conn_info) + len(info.chan_info)
    for key, tag in (publication.tags or {}).items():
        size += 6 * (len(key) + len(tag)) + 6
    return size


def fitting(publications: tuple[Publication, ...]) -> tuple[Publication, ...]:
    """Return as many of the first as one answer may hold, but one at least."""
    room = MAX_BYTES
    for number, publication in enumerate(publications):
        room -= measure(publication)
        if room < 0 and number:
            return publications[:number]
    return publications


def merge(recovered: tuple[Publication, ...], fresh: list[Publication]) -> tuple[Publication, ...]:
    """Put what was read and what came live in order, each once.

    Raises:
        Disconnect: 3010, something is missing between them.
    """
    by_offset = {publication.offset: publication for publication in (*recovered, *fresh)}
    offsets = sorted(by_offset)
    if fresh and offsets[-1] - offsets[0] + 1 != len(offsets):
        raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "a hole behind the history")
    return tuple(by_offset[offset] for offset in offsets)


def _join(history: History, live: list[Live]) -> tuple[Position, list[Publication]]:
    """Return the position after what came live, and of that what the history had not."""
    top = history.position
    if live and live[-1].epoch != top.epoch:
        raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "a new epoch meanwhile")
    # What fills a gap comes once more when it was only late, and not in order with that.
    fresh = {
        one.publication.offset: one
        for one in live
        if one.epoch == top.epoch and one.publication.offset > top.offset
    }
    if not fresh:
        return top, []
    last = fresh[max(fresh)]
    position = Position(last.publication.offset, top.epoch, last.mark)
    return position, [fresh[offset].publication for offset in sorted(fresh)]


def _missed(
    request: SubscribeRequest, history: History, fresh: list[Publication]
) -> tuple[Publication, ...] | None:
    """Return what the client has missed, or None if that cannot be had."""
    top, found = history.position, history.publications
    if request.epoch and request.epoch != top.epoch:
        return None
    if found:
        if found[0].offset != request.offset + 1 or found[-1].offset != top.offset:
            return None
    elif top.offset != request.offset:
        return None
    if fresh and fresh[0].offset != top.offset + 1:
        raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "a hole behind the history")
    return merge(found, fresh)


def _latest(
    request: SubscribeRequest, history: History, position: Position, fresh: list[Publication]
) -> tuple[Publication, ...] | None:
    """Return the latest publication unless the client has it; None if it is not kept."""
    latest = fresh[-1] if fresh else next(iter(history.publications), None)
    if latest is None or latest.offset != position.offset:
        return None
    known = request.recover and (request.offset, request.epoch) == (position.offset, position.epoch)
    return () if known else (latest,)
