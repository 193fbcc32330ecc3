"""What a broker promises; the contract suite holds every implementation to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from msgspec import Raw, Struct

from ws_gateway.protocol.messages import ABSENT, Join, Leave, Publication

META_TTL = 30 * 86_400.0
"""Seconds for which a channel's position is kept where its namespace says nothing.

One that nobody has published into yet may be forgotten sooner.
"""


class Position(NamedTuple):
    """A place in a channel's stream, as one process knows it.

    Attributes:
        offset: Of the publication, from 1; 0 before the first.
        epoch: Of the stream. Offsets of different epochs say nothing about each other.
        mark: Tells the publication at this offset from another that was given the same offset
            and epoch, by a server that had lost the first one. 0 where there is none.
    """

    offset: int
    epoch: str
    mark: int = 0


class Link(NamedTuple):
    """How a publication with an offset hangs on the one before it.

    Attributes:
        epoch: Of its stream.
        mark: See Position.
        previous: The mark of the publication before; 0 for the first.
        prev_data: That publication's payload, where it was published with ``use_delta`` and
            the stream still has it.
    """

    epoch: str
    mark: int
    previous: int
    prev_data: Raw = ABSENT


Handler = Callable[[str, Publication, Link | None, float], None]
"""Takes (channel, publication, link, published at); the link is None where the channel has no
history, and the time is Unix time by the publisher's clock, 0 for just now. Synchronous and quick,
must not raise."""

MissedHandler = Callable[[str], None]
"""Takes a subscribed channel whose publications may have passed by for a while; called before
the first one after it. Synchronous and quick, must not raise."""

Change = Join | Leave

ChangesHandler = Callable[[str, Sequence[Change]], None]
"""Takes a subscribed channel, and who came and went, in order. Synchronous and quick, must not
raise."""


class PublishOptions(Struct, frozen=True, kw_only=True, gc=False):
    """How a publication is kept; times in seconds.

    Attributes:
        history_size: How many publications the channel keeps; 0 for none.
        history_ttl: For how long after the last one.
        history_meta_ttl: For how long its position; 0 for ``META_TTL``.
        idempotency_key: For five minutes, a publication into the same channel with the same key
            is not published again but answered as the first one was.
        version: Where it is not 0, publications of this or a higher version that are in the
            channel already make this one be dropped.
        version_epoch: Versions of different epochs are not compared.
        use_delta: Hand the previous payload to handlers too.
        seen: Where the caller knows the stream to be. A stream that has fallen back behind it
            gets a new epoch before the publication is appended.
    """

    history_size: int = 0
    history_ttl: float = 0
    history_meta_ttl: float = 0
    idempotency_key: str = ""
    version: int = 0
    version_epoch: str = ""
    use_delta: bool = False
    seen: Position | None = None


PLAIN = PublishOptions()


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication.

    Attributes:
        offset: Its place in the channel's stream, from 1; 0 where the channel has no history.
        epoch: The stream's epoch; empty where the channel has no history.
        receivers: How many processes had a subscriber to hand it to.
        suppressed: Nothing was published: the idempotency key or the version had been there.
    """

    offset: int
    epoch: str
    receivers: int
    suppressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which publications of a stream are asked for.

    Attributes:
        limit: How many at most; 0 for none, only the position; -1 for all there are.
        since: Only those after this offset, or before it if reversed; None for no such bound.
        reverse: The newest first.
    """

    limit: int = 0
    since: int | None = None
    reverse: bool = False


POSITION_ONLY = HistoryFilter()


@dataclass(frozen=True, slots=True)
class History:
    """What a stream held at one moment.

    Attributes:
        position: Its top.
        publications: What was asked for, in order.
        last_mark: The mark of the last of these; 0 if there are none.
    """

    position: Position
    publications: tuple[Publication, ...] = ()
    last_mark: int = 0


class Broker(Protocol):
    """Carries publications between the processes that have subscribers for them, and keeps them.

    Publications of one channel reach every handler in the order in which ``publish`` accepted
    them, each once; nothing is delivered to a process that is not subscribed.

    A channel with history is a stream. It has an epoch from the first look at it; offsets rise by
    one. When its position is lost, or falls back, it gets a new epoch: a pair of offset and epoch
    never stands for two publications to anybody who could know both.
    """

    async def start(
        self,
        handler: Handler,
        missed: MissedHandler | None = None,
        changed: ChangesHandler | None = None,
    ) -> None:
        """Begin; ``handler`` is called for every publication in a subscribed channel."""

    async def stop(self) -> None:
        """End; the handler is not called any more."""

    def subscribed(self, channel: str) -> bool:
        """Whether publications of the channel reach this process now."""

    def subscribe(self, channel: str) -> Awaitable[None]:
        """Ask for a channel's publications; done when every later one will be delivered.

        Idempotent. A subscription may be lost again before the caller resumes (another's
        unsubscribe), so callers ask :meth:`subscribed` afterwards.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """

    def unsubscribe(self, channel: str) -> None:
        """Give a channel up; takes effect in the order of calls, and never fails."""

    def publish(
        self, channel: str, publication: Publication, options: PublishOptions = PLAIN
    ) -> Awaitable[Published]:
        """Number, keep and deliver a publication in one atomic step.

        Raises:
            BrokerUnavailable: It was not acknowledged. It may have been accepted all the same, if
                the connection broke before the reply; it is not sent twice.
        """

    def announce(self, channel: str, changes: Sequence[Change]) -> Awaitable[None]:
        """Tell every process that is subscribed who came to a channel and who went.

        They are told in the order of calls. Nothing of it is kept, and who was away is not told
        that something passed by.

        Raises:
            BrokerUnavailable: It was not acknowledged.
        """

    def history(
        self,
        channel: str,
        wanted: HistoryFilter = POSITION_ONLY,
        *,
        meta_ttl: float = 0,
        seen: Position | None = None,
    ) -> Awaitable[History]:
        """Read what a stream holds, and where it is, in one atomic step.

        Args:
            channel: Whose.
            wanted: Which publications.
            meta_ttl: See PublishOptions; a stream that had no epoch gets one, for so long.
            seen: Where the caller knows the stream to be. One that has fallen back behind it, or
                holds another publication there, gets a new epoch; its publications stay.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """

    def remove_history(self, channel: str) -> Awaitable[None]:
        """Forget a stream's publications, not its position.

        Raises:
            BrokerUnavailable: It was not acknowledged.
        """

    def ready(self) -> bool:
        """Whether publications flow."""
