"""What presence promises; the contract suite holds every implementation to it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import NamedTuple, Protocol

from ws_gateway.protocol.messages import ClientInfo


class Stats(NamedTuple):
    """How many are in a channel; the same user in two places is one of ``users``."""

    clients: int
    users: int


class Presence(Protocol):
    """Knows who is in which channel, in all processes together.

    An entry is a connection in a channel. Each process says which are its own; what a process
    has said is true for as long as it gives a sign of life, so that the entries of one that was
    killed vanish by themselves.

    Saying so never waits and never fails: while the others cannot be told, the process keeps in
    mind what is true, and tells them when they can be.
    """

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End; the entries of this process are none any more."""

    def __len__(self) -> int:
        """How many entries this process has."""

    def add(self, channel: str, info: ClientInfo) -> None:
        """Say that a connection of this process is in a channel, in place of what was said."""

    def remove(self, channel: str, client: str) -> None:
        """Say that it is there no more, if it was."""

    def hand_over(self, channel: str) -> None:
        """Tell the others what was said of a channel before anything that is sent after this."""

    def members(self, channel: str, limit: int) -> Awaitable[Mapping[str, ClientInfo] | None]:
        """List who is in a channel, by connection; None if there are more than ``limit``.

        What this process has said before is in it.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """

    def stats(self, channel: str) -> Awaitable[Stats]:
        """Count who is in a channel, however many there are.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """

    def arrive(self, user: str) -> None:
        """Say that a user has one connection more in this process."""

    def depart(self, user: str) -> None:
        """Say that he has one less."""

    def last_seen(self, user: str) -> Awaitable[float | None]:
        """Return when a user was last connected, as Unix time: now if he is.

        None if that is not known (any more): only so many users are remembered, the last ones.

        Raises:
            BrokerUnavailable: It cannot be had now.
        """
