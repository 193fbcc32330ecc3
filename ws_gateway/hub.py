"""Which connections of this process are subscribed to which channel.

Synchronous and pure: no await, no lock, no metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, Protocol, cast

from msgspec import Raw
from msgspec.structs import replace

from ws_gateway import delivery
from ws_gateway.delivery import BY_NAME, Delivery
from ws_gateway.exceptions import Disconnect
from ws_gateway.group import Group
from ws_gateway.protocol.codec import Codec
from ws_gateway.protocol.messages import ABSENT, Join, Leave, Publication, Push, Reply
from ws_gateway.tags import Filter, wanted


class Subscriber(Protocol):
    """Whoever takes the frames of a channel."""

    @property
    def codec(self) -> Codec:
        """The encoding it speaks."""

    def send(self, frame: bytes) -> None:
        """Queue a frame. Must not change the hub: a slow subscriber is closed later."""

    def refuse(self, end: Disconnect) -> None:
        """End soon, because it cannot be told. Must not change the hub either."""


class _Payload(IntEnum):
    """What stands in a frame for a publication's payload."""

    PLAIN = 0
    WHOLE = 1  # where it may be a patch, but is none
    PATCH = 2


class _Form(NamedTuple):
    """Everything that frames of one publication differ in."""

    codec: Codec
    numbered: bool
    payload: _Payload


_form = cast("Callable[[Codec, bool, _Payload], _Form]", lru_cache(64)(_Form))
"""There are a dozen, and each channel has one or two of them."""

_Members = Group[Subscriber] | tuple[Subscriber, ...]
"""Those to whom the same frames go: one in a tuple, as most channels have no more, or a group."""

_Groups = tuple[tuple[_Form, _Members], ...]
"""All of a channel by form, nobody left out. Tables of one form, and groups of one, would take five
times the memory."""


def _send_to_each(frame: bytes, subscribers: Iterable[Subscriber]) -> None:
    for subscriber in subscribers:
        subscriber.send(frame)


Spread = Callable[[bytes, Iterable[Any]], None]
"""Sends one frame to many subscribers, as ``send`` of each of them would."""


class Hub:
    """The registry of subscribers, by form so that each frame is built once for all of them.

    Args:
        spread: How a frame is sent to many.
    """

    def __init__(self, spread: Spread = _send_to_each) -> None:
        self._spread = spread
        self._channels: dict[str, _Groups] = {}
        # Who knows publications already that are on their way to the others of the channel.
        self._ahead: dict[str, dict[Subscriber, int]] = {}
        # Who is told of some publications only.
        self._filters: dict[str, dict[Subscriber, Filter]] = {}
        # Who is told of those who come and go.
        self._watchers: dict[str, _Groups] = {}
        # Who does not read, and is given nothing more.
        self._held_back: dict[str, set[Subscriber]] = {}
        self._left_out: list[Subscriber] = []
        self._numbers: dict[str, int] = {}
        self._unused = count(1)  # no number stands for two channels, also not one after the other
        self.subscriptions = 0

    def __contains__(self, channel: str) -> bool:
        return channel in self._channels

    def __len__(self) -> int:
        """How many channels have a subscriber here."""
        return len(self._channels)

    def subscribers(self, channel: str) -> list[Subscriber]:
        """List who is subscribed to a channel."""
        return [one for _, members in self._channels.get(channel, ()) for one in members]

    def channels(self) -> Collection[str]:
        """Return the channels that have a subscriber here, as they are at this moment."""
        return tuple(self._channels)

    def count(self, channel: str) -> int:
        """Return how many are subscribed to a channel."""
        return sum(len(members) for _, members in self._channels.get(channel, ()))

    def number(self, channel: str) -> int:
        """Return the number that stands for a channel with a numbered subscriber, else 0."""
        return self._numbers.get(channel, 0)

    def add(
        self, channel: str, subscriber: Subscriber, told: Delivery = BY_NAME, ahead: int = 0
    ) -> None:
        """Subscribe; a subscriber is in a channel once.

        Args:
            channel: To what.
            subscriber: Who.
            told: How it is told.
            ahead: The offset up to which it is given nothing, because it knows that already.
        """
        groups = self._channels.get(channel, ())
        for _, members in groups:
            if subscriber in members:
                break
        else:
            payload = _Payload.PLAIN
            if told.delta:
                payload = _Payload.PATCH if told.based else _Payload.WHOLE
            form = _form(subscriber.codec, told.numbered, payload)
            self._channels[channel] = _with(groups, form, subscriber)
            self.subscriptions += 1
            if told.numbered and channel not in self._numbers:
                self._numbers[channel] = next(self._unused)
            if told.wants is not None:
                self._filters.setdefault(channel, {})[subscriber] = told.wants
        if ahead:
            self._ahead.setdefault(channel, {})[subscriber] = ahead

    def watch(self, channel: str, subscriber: Subscriber) -> None:
        """Tell a subscriber of the channel who comes and goes too, as long as it is one."""
        for told, members in self._channels[channel]:
            if subscriber in members:
                form = _form(told.codec, told.numbered, _Payload.PLAIN)
                watchers = self._watchers.get(channel, ())
                self._watchers[channel] = _with(watchers, form, subscriber)
                return

    def remove(self, channel: str, subscriber: Subscriber) -> bool:
        """Unsubscribe one that is subscribed, and say whether it was the channel's last."""
        if channel in self._watchers:
            watchers = _without(self._watchers[channel], subscriber)
            if watchers:
                self._watchers[channel] = watchers
            else:
                del self._watchers[channel]
        groups = _without(self._channels[channel], subscriber)
        self.subscriptions -= 1
        if channel in self._ahead:
            self._catch_up(channel, subscriber)
        self.let_through(channel, subscriber)
        if channel in self._filters:
            filters = self._filters[channel]
            filters.pop(subscriber, None)
            if not filters:
                del self._filters[channel]
        if groups:
            self._channels[channel] = groups
            return False
        del self._channels[channel]
        self._numbers.pop(channel, None)
        return True

    def hold_back(self, channel: str, subscriber: Subscriber) -> None:
        """Give a subscriber of the channel nothing more, until :meth:`let_through`."""
        self._held_back.setdefault(channel, set()).add(subscriber)

    def let_through(self, channel: str, subscriber: Subscriber) -> None:
        """Undo :meth:`hold_back`."""
        held_back = self._held_back.get(channel)
        if held_back is not None:
            held_back.discard(subscriber)
            if not held_back:
                del self._held_back[channel]

    def take_left_out(self) -> list[Subscriber]:
        """Return for whom a publication was meant that was held back, since the last call."""
        if not self._left_out:
            return []
        left_out, self._left_out = self._left_out, []
        return left_out

    def broadcast(self, channel: str, publication: Publication, previous: Raw = ABSENT) -> int:
        """Hand a publication to every subscriber of the channel that wants it.

        Args:
            channel: Which.
            publication: What.
            previous: The payload of the publication before, if all have been given that; then
                this one may be sent as a patch of it.

        Returns:
            To how many.
        """
        groups = self._channels.get(channel)
        if groups is None:
            return 0
        told = 0
        patches: _Patches | None = None
        some = (
            channel in self._filters
            or channel in self._held_back
            or (publication.offset and channel in self._ahead)
        )
        for form, members in groups:
            codec, numbered, payload = form
            if numbered:
                push = Push(id=self._numbers[channel], pub=publication)
            else:
                push = Push(channel=channel, pub=publication)
            try:
                if payload:
                    patches = patches or _Patches(publication, previous)
                    frame = patches.encode(form, push)
                else:
                    frame = codec.encode(Reply(push=push))
            except Disconnect as end:
                for subscriber in members:
                    subscriber.refuse(end)
                continue
            receivers: Collection[Subscriber] = members
            if some:
                receivers = self._choose(channel, publication, members)
            self._spread(frame, receivers)
            told += len(receivers)
            if patches is not None and payload is _Payload.WHOLE:
                patches.based.append((form, list(receivers)))
        if patches is not None and patches.based:
            self._channels[channel] = patches.move(groups)
        return told

    def announce(self, channel: str, changes: Sequence[Join | Leave]) -> None:
        """Tell who watches the channel who came and who went."""
        for form, members in self._watchers.get(channel, ()):
            number, name = (self._numbers[channel], "") if form.numbered else (0, channel)
            frames = b"".join(
                form.codec.encode(
                    Reply(
                        push=Push(id=number, channel=name, join=change)
                        if isinstance(change, Join)
                        else Push(id=number, channel=name, leave=change)
                    )
                )
                for change in changes
            )
            self._spread(frames, members)

    def _choose(
        self, channel: str, publication: Publication, members: Collection[Subscriber]
    ) -> list[Subscriber]:
        """List those who want a publication, do not know it, and can take it."""
        ahead = self._ahead.get(channel, {}) if publication.offset else {}
        filters = self._filters.get(channel, {})
        held_back = self._held_back.get(channel, ())
        chosen: list[Subscriber] = []
        for subscriber in members:
            known = ahead.get(subscriber, 0)
            if known and publication.offset >= known:
                self._catch_up(channel, subscriber)
            wants = filters.get(subscriber)
            if (not known or publication.offset > known) and (
                wants is None or wanted(wants, publication.tags)
            ):
                (self._left_out if subscriber in held_back else chosen).append(subscriber)
        return chosen

    def _catch_up(self, channel: str, subscriber: Subscriber) -> None:
        ahead = self._ahead[channel]
        ahead.pop(subscriber, None)
        if not ahead:
            del self._ahead[channel]


class _Patches:
    """The frames of one publication in which there may be a patch.

    Attributes:
        based: Who was given its payload as a whole, and can be given a patch of it next.
    """

    __slots__ = ("_change", "_publication", "_wholes", "based")

    def __init__(self, publication: Publication, previous: Raw) -> None:
        self._publication = publication
        self._change = delivery.patch(bytes(previous), bytes(publication.data))
        self._wholes: dict[_Form, bytes] = {}
        self.based: list[tuple[_Form, list[Subscriber]]] = []

    def encode(self, form: _Form, push: Push) -> bytes:
        """Build the frame of a form; Disconnect 3506 if its encoding cannot say the payload."""
        change = self._change if form.payload is _Payload.PATCH else None
        whole = _form(form.codec, form.numbered, _Payload.WHOLE)
        if change is None and whole in self._wholes:
            return self._wholes[whole]
        pub = delivery.write(self._publication, form.codec, change)
        frame = form.codec.encode(Reply(push=replace(push, pub=pub)))
        if change is None:
            self._wholes[whole] = frame
        return frame

    def move(self, groups: _Groups) -> _Groups:
        """Put those who are based now among those who are given patches."""
        for form, those in self.based:
            if those:
                patch = _form(form.codec, form.numbered, _Payload.PATCH)
                rest, patched = _group(groups, form), _group(groups, patch)
                rest.move(those, patched)
                groups = _replace(_replace(groups, form, rest), patch, patched)
        return groups


def _with(groups: _Groups, form: _Form, subscriber: Subscriber) -> _Groups:
    """Put a subscriber among those of its form."""
    for one, members in groups:
        if one == form:
            if isinstance(members, Group):
                members.add(subscriber)
                return groups
            return _replace(groups, form, Group((*members, subscriber)))
    return (*groups, (form, (subscriber,)))


def _without(groups: _Groups, subscriber: Subscriber) -> _Groups:
    """Take a subscriber out."""
    for form, members in groups:
        if subscriber in members:
            if isinstance(members, Group) and len(members) > 1:
                members.remove(subscriber)
                return groups
            return _replace(groups, form, ())
    return groups


def _replace(groups: _Groups, form: _Form, members: _Members) -> _Groups:
    """Say who is of a form; nobody if they are none."""
    others = tuple(one for one in groups if one[0] != form)
    return (*others, (form, members)) if members else others


def _group(groups: _Groups, form: _Form) -> Group[Subscriber]:
    """Return those of a form as a group, which may be a new one."""
    for one, members in groups:
        if one == form:
            return members if isinstance(members, Group) else Group(members)
    return Group()
