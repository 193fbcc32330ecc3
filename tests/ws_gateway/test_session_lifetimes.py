"""When a connection or a subscription ends by itself, and what puts that off."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from tests.ws_gateway.sessions import (
    ALICE,
    GRANT,
    HOUR,
    LIMITS,
    PONG,
    START,
    Make,
    assert_closes,
    assert_ends,
    bare,
    connected,
    connected_by_token,
    live,
    with_credentials,
)
from ws_gateway.codes import DisconnectCode
from ws_gateway.protocol.messages import Command, ConnectRequest, RefreshRequest
from ws_gateway.session import Session, State, Tick


class TestSubscriptionsThatEnd:
    """Section 11: without a refresh a subscription ends, 25 s after its token's end."""

    def test_clients_own_ends_alone(self) -> None:
        """The others go on, and so does the connection."""
        session = connected()
        for channel, lifetime in (("a", 0.0), ("b", 5.0), ("c", inf)):
            session.subscribed(channel)
            session.granted(START, channel, GRANT, lifetime=lifetime)

        assert session.deadline <= START + 25
        session.tick(START + 12)
        session.receive(PONG, START + 12)
        assert session.ended(START + 24.9) == []
        assert session.tick(START + 25) is Tick.END_SUBSCRIPTIONS
        assert session.ended(START + 25) == ["a"]
        session.unsubscribed("a")
        assert session.ended(START + 29) == []
        assert session.ended(START + 30) == ["b"]
        session.unsubscribed("b")
        assert session.ended(START + HOUR) == []
        assert session.grant("c") is GRANT
        session.unsubscribed("c")
        assert session.grant("c") is None

    def test_servers_own_ends_the_connection(self) -> None:
        """3006: the client could not begin it anew."""
        session = connected(lifetime=HOUR)
        session.granted(START, "a", GRANT, lifetime=-20, server_side=True)

        assert_closes(DisconnectCode.SUBSCRIPTION_EXPIRED, session, START + 5)

    def test_new_grant_moves_the_end(self) -> None:
        """As a sub_refresh does."""
        session = connected()
        session.granted(START, "a", GRANT, lifetime=1)
        session.granted(START, "a", GRANT, lifetime=100)

        assert session.ended(START + 124) == []
        assert session.ended(START + 125) == ["a"]

    def test_channel_without_a_grant_has_none(self) -> None:
        """Most have not."""
        session = connected()
        session.subscribed("a")

        assert session.grant("a") is None
        assert session.ended(START + HOUR) == []


class TestRefresh:
    """Section 11."""

    def test_connection_by_token_may_refresh(self) -> None:
        """The client was told a ``ttl``."""
        session = connected_by_token()
        request = RefreshRequest(token="new")

        assert session.expires_with_grace
        assert session.receive(Command(id=2, refresh=request), START) is request

    @pytest.mark.parametrize("make", [connected, bare])
    def test_others_may_not(self, make: Make) -> None:
        """3501: it comes back with a fresh credential instead (design section 2)."""
        session = make()

        assert not session.expires_with_grace
        assert_ends(
            DisconnectCode.BAD_REQUEST, session, Command(id=2, refresh=RefreshRequest(token="t"))
        )

    def test_refresh_without_token_is_3501(self) -> None:
        """Section 11."""
        assert_ends(
            DisconnectCode.BAD_REQUEST,
            connected_by_token(),
            Command(id=2, refresh=RefreshRequest()),
        )

    def test_refresh_moves_the_end(self) -> None:
        """To the new token's ``exp`` and its grace."""
        session = connected_by_token(lifetime=100)
        session.refreshed(START + 90, ALICE, 200)

        live(session, until=START + 90 + 200 + 25 - 0.1)

        assert_closes(DisconnectCode.EXPIRED, session, START + 90 + 200 + 25)


class TestAge:
    """A connection comes back after a while, so that new gateways get their share."""

    AGED = replace(LIMITS, max_age=600)

    def aged(self, **options: Any) -> Session:  # noqa: ANN401 - Session's own
        """Return one that has connected by token, and may live ten minutes."""
        values: dict[str, Any] = {"now": START, "jitter": 0.0}
        session = Session(self.AGED, **values | options)
        session.receive(Command(id=1, connect=ConnectRequest(token="t")), START)
        session.connected(START, ALICE, HOUR)
        return session

    def test_it_is_asked_to_come_back(self) -> None:
        """3011, which SDKs reconnect after, with their positions."""
        session = self.aged()

        live(session, until=START + 599.9)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 600)

    def test_chance_makes_it_earlier_and_never_later(self) -> None:
        """A crowd that came together does not leave together."""
        session = self.aged(jitter=0.5)

        live(session, until=START + 539.9)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 540)

    def test_a_refresh_does_not_make_it_younger(self) -> None:
        """Its age is the socket's."""
        session = self.aged()
        session.refreshed(START + 500, ALICE, HOUR)

        live(session, until=START + 599.9)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 600)

    def test_the_end_of_the_token_comes_first(self) -> None:
        """It says what the client needs."""
        session = with_credentials(lifetime=600)
        session._limits = self.AGED

        assert_closes(DisconnectCode.EXPIRED, session, START + 600)

    def test_one_that_has_said_nothing_has_an_age_too(self) -> None:
        """However long it may be silent."""
        limits = replace(self.AGED, connect_timeout=HOUR)
        session = Session(limits, now=START, jitter=0.0)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 600)

    def test_there_is_no_limit_unless_one_is_set(self) -> None:
        """By default."""
        session = connected_by_token(lifetime=inf)

        live(session, until=START + 24 * HOUR)

        assert session.state is State.CONNECTED


class TestExpiry:
    """When credentials end, the connection does (section 5, design section 2)."""

    @pytest.mark.parametrize("make", [connected, bare])
    def test_handshakes_credentials_end_it_at_exp(self, make: Make) -> None:
        """3005, without grace."""
        session = make()

        live(session, until=START + HOUR - 0.1)

        assert_closes(DisconnectCode.EXPIRED, session, START + HOUR)

    def test_token_of_connect_ends_it_after_a_grace(self) -> None:
        """The client is given time to refresh."""
        session = connected_by_token()

        live(session, until=START + HOUR + 24.9)

        assert_closes(DisconnectCode.EXPIRED, session, START + HOUR + 25)

    def test_token_of_connect_beats_a_cookies_end(self) -> None:
        """It is verified as if there were no cookie."""
        session = with_credentials(lifetime=60)
        session.receive(Command(id=1, connect=ConnectRequest(token="t")), START)
        session.connected(START, ALICE, HOUR)

        live(session, until=START + 61)

        assert session.state is State.CONNECTED

    def test_end_comes_before_a_missing_pong(self) -> None:
        """The reason that tells the client what to do."""
        session = connected(lifetime=18)
        assert session.tick(START + 10) is Tick.PING

        assert_closes(DisconnectCode.EXPIRED, session, START + 18)
