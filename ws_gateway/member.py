"""A connection as the node knows it: its kind, and what others and the hooks see of it."""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import Raw

from ws_gateway.credentials import Credentials
from ws_gateway.drain import Leaving
from ws_gateway.eviction import Evictable
from ws_gateway.hooks import Caller
from ws_gateway.hub import Subscriber
from ws_gateway.protocol.messages import ABSENT, ClientInfo


class Member(Subscriber, Evictable, Leaving, Protocol):
    """A connection, as far as the node knows it.

    Attributes:
        client: Its id.
        address: The peer's.
        shown: The node's own note of what others see of it; every channel it is in has that.
        shown_of: The credentials that this was written from.
    """

    client: str
    address: str
    shown: ClientInfo | None
    shown_of: Credentials | None

    def lose_position(self, channel: str) -> None:
        """End a subscription that has a position, for publications were missed."""

    def miss(self, channel: str) -> None:
        """End a subscription because a publication was left out: it reads too slowly."""


def show_to_others(member: Member, credentials: Credentials, chan_info: bytes | None) -> ClientInfo:
    """Say what others see of a connection.

    Args:
        member: The connection.
        credentials: Whose it is.
        chan_info: What one subscription shows besides, as JSON text; None for nothing.
    """
    shown = member.shown
    if shown is None or member.shown_of is not credentials:
        shown = member.shown = ClientInfo(
            user=credentials.user,
            client=member.client,
            conn_info=Raw(credentials.info) if credentials.info else ABSENT,
        )
        member.shown_of = credentials
    return msgspec.structs.replace(shown, chan_info=Raw(chan_info)) if chan_info else shown


def show_to_hooks(member: Member, credentials: Credentials) -> Caller:
    """Say what the operator's hooks see of a connection: no token."""
    return Caller(
        user=credentials.user,
        client=member.client,
        scopes=credentials.scopes,
        info=msgspec.json.decode(credentials.info) if credentials.info else None,
        meta=msgspec.json.decode(credentials.meta) if credentials.meta else None,
    )
