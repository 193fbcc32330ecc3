"""A connection as the node knows it: what others and the hooks see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec import Raw

from tests.ws_gateway.conftest import Gateway
from ws_gateway.credentials import Credentials
from ws_gateway.hooks import Caller
from ws_gateway.member import show_to_hooks, show_to_others
from ws_gateway.protocol.messages import ABSENT, ClientInfo


class TestOthers:
    """``ClientInfo``: in presence, joins, leaves and publications."""

    @pytest.mark.parametrize(("info", "shown"), [(b'{"a":1}', Raw(b'{"a":1}')), (b"", ABSENT)])
    async def test_they_see_the_user_and_what_the_token_shows(
        self,
        gateway: Gateway,
        make_credentials: Callable[..., Credentials],
        info: bytes,
        shown: Raw,
    ) -> None:
        """Nothing else of the token."""
        who = make_credentials(info=info)
        member = gateway.open(who).connection

        seen = show_to_others(member, who, None)

        assert seen == ClientInfo(user="alice", client=member.client, conn_info=shown)

    async def test_it_is_written_once_for_all_channels(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A connection that is in a hundred has one of them."""
        member = gateway.open(alice).connection

        assert show_to_others(member, alice, None) is show_to_others(member, alice, None)

    async def test_new_credentials_show_anew(self, gateway: Gateway, alice: Credentials) -> None:
        """As after a refresh."""
        member = gateway.open(alice).connection
        show_to_others(member, alice, None)

        seen = show_to_others(member, replace(alice, info=b'"new"'), None)

        assert bytes(seen.conn_info) == b'"new"'

    async def test_what_one_subscription_shows_is_not_shown_elsewhere(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """``chan_info`` is of one channel."""
        member = gateway.open(alice).connection

        owner = show_to_others(member, alice, b'{"role":"owner"}')

        assert bytes(owner.chan_info) == b'{"role":"owner"}'
        assert show_to_others(member, alice, None).chan_info == ABSENT


class TestHooks:
    """``Caller``: the first argument of every hook."""

    async def test_they_see_who_calls_and_no_token(
        self, gateway: Gateway, make_credentials: Callable[..., Credentials]
    ) -> None:
        """User, connection, scopes, and what the token says of the user, decoded."""
        who = make_credentials(info=b'{"name":"Alice"}', meta=b"[1]")
        member = gateway.open(who).connection

        assert show_to_hooks(member, who) == Caller(
            user="alice",
            client=member.client,
            scopes=frozenset({"connect"}),
            info={"name": "Alice"},
            meta=[1],
        )

    async def test_what_the_token_does_not_say_is_none(
        self, gateway: Gateway, bob: Credentials
    ) -> None:
        """No empty text that a hook would have to know."""
        caller = show_to_hooks(gateway.open(bob).connection, bob)

        assert (caller.info, caller.meta) == (None, None)
