"""A set of subscribers that are told the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from typing_extensions import override

_Subscriber = TypeVar("_Subscriber")


class Group(set[_Subscriber]):
    """Those of a channel to whom the same frames go.

    Args:
        subscribers: The first of them.

    Attributes:
        prepared: What whoever sends to all of them keeps for the next time; forgotten when
            somebody comes or goes.
    """

    __slots__ = ("prepared",)

    def __init__(self, subscribers: Iterable[_Subscriber] = ()) -> None:
        super().__init__(subscribers)
        self.prepared: Any = None

    @override
    def add(self, subscriber: _Subscriber, /) -> None:
        super().add(subscriber)
        self.prepared = None

    @override
    def remove(self, subscriber: _Subscriber, /) -> None:
        super().remove(subscriber)
        self.prepared = None

    def move(self, subscribers: Iterable[_Subscriber], to: Group[_Subscriber]) -> None:
        """Let some of them belong to another group."""
        self.difference_update(subscribers)
        to.update(subscribers)
        self.prepared = to.prepared = None
