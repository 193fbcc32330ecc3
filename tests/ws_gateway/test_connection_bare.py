"""A connection that never says ``connect``."""

from __future__ import annotations

import pytest

from tests.ws_gateway.commands import (
    CONNECT,
    MakeCredentials,
    error,
    publish,
    subscribe,
)
from tests.ws_gateway.conftest import Gateway, settle
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    BrokerUnavailable,
)


class TestBare:
    """Authenticated at the handshake, and no ``connect`` (design section 2)."""

    async def test_nothing_is_written_before_the_first_command(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """And no server-side subscription starts."""
        peer = gateway.open(alice)

        await gateway.advance(9)
        gateway.publish("dm:#alice", 1)

        assert await peer.receive() == []
        assert gateway.broker.channels == set()

    async def test_an_answer_that_nobody_asked_for_is_not_built(
        self, gateway: Gateway, alice: Credentials, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be long, and there may be something in it that cannot be said."""
        peer = gateway.open(alice)
        await peer.ask(subscribe("news"))

        def refuse(_reply: object) -> bytes:
            raise AssertionError("built")

        monkeypatch.setattr(type(peer.connection.codec), "encode", staticmethod(refuse))
        peer.send({"unsubscribe": {"channel": "news"}}, publish("news", 1, 0))

        assert await peer.receive() == []
        assert not peer.connection.closed

    async def test_it_begins_after_the_connect_timeout(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """For one that only listens."""
        peer = gateway.open(alice)

        await gateway.advance(10.2)
        gateway.publish("dm:#alice", 1)

        assert await peer.receive() == [{"push": {"channel": "dm:#alice", "pub": {"data": 1}}}]

    async def test_first_command_begins_and_is_performed(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A command without id asks for no reply."""
        peer = gateway.open(alice)

        assert await peer.ask({"subscribe": {"channel": "news"}}) == []

        for channel in ("news", "dm:#alice"):
            gateway.publish(channel, 1)
        assert len(await peer.receive()) == 2

    async def test_command_with_id_is_answered(self, gateway: Gateway, alice: Credentials) -> None:
        """As everywhere."""
        peer = gateway.open(alice)

        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]

    async def test_failure_of_a_command_without_id_has_none(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """``{"error":{…}}``."""
        peer = gateway.open(alice)

        replies = await peer.ask(
            {"subscribe": {"channel": "staff:1"}}, {"publish": {"channel": "dm:#nobody", "data": 1}}
        )

        assert replies == [error(103, "permission denied"), error(1404, "not connected")]

    async def test_empty_command_is_ignored(self, gateway: Gateway, alice: Credentials) -> None:
        """Any number of them; the first begins."""
        peer = gateway.open(alice)

        assert await peer.ask({}, {}, {}) == []

        assert gateway.broker.channels == {"dm:#alice"}
        assert peer.closed is None

    async def test_first_command_that_fails_still_begins(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Whether the session or the policy refuses it."""
        for command in (
            {"subscribe": {"channel": "news", "token": "t"}},
            {"subscribe": {"channel": "staff:1"}},
        ):
            peer = gateway.open(alice)
            assert await peer.ask(command) == [error(103, "permission denied")]

            gateway.publish("dm:#alice", 1)

            assert len(await peer.receive()) == 1
            peer.connection.lost(1000)

    async def test_publications_may_come_before_the_answer_of_the_first_command(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The server-side subscriptions start first, and are started once."""
        peer = gateway.open(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        await settle()
        assert gateway.broker.requests == [("subscribe", "dm:#alice")]

        gateway.broker.release()

        assert await peer.receive() == [{"id": 2, "subscribe": {}}]

    async def test_broker_that_is_away_at_the_beginning_is_3004(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Nobody asked, so nobody can be answered; the client comes back."""
        gateway.broker.down = BrokerUnavailable()
        asking, silent = gateway.open(alice), gateway.open(alice)

        await asking.ask({})
        await gateway.advance(10.2)

        assert (asking.closed, silent.closed) == (3004, 3004)

    async def test_claim_that_can_never_be_met_is_3501(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """And the client stays away."""
        peer = gateway.open(make_credentials(channels=("nowhere:1",)))

        await peer.ask({})

        assert peer.closed == 3501

    async def test_connect_after_another_command_is_3501(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """It is accepted as the first command only."""
        peer = gateway.open(alice)

        await peer.ask({})
        await peer.ask(CONNECT)

        assert peer.closed == 3501

    async def test_it_is_pinged_by_frames(self, gateway: Gateway, alice: Credentials) -> None:
        """And after three intervals without any sign of life closed with 3012."""
        peer = gateway.open(alice)
        await peer.ask({})

        await gateway.advance(26)
        assert await peer.receive() == ["ping"]
        peer.connection.seen()
        await gateway.advance(70)
        assert peer.closed is None
        await gateway.advance(30)

        assert set(await peer.receive()) == {"ping"}
        assert peer.closed == 3012

    async def test_long_silence_is_no_end(self, gateway: Gateway, alice: Credentials) -> None:
        """As long as the peer answers pings."""
        peer = gateway.open(alice)
        await peer.ask({"subscribe": {"channel": "news"}})

        for _ in range(10):
            await gateway.advance(20)
            peer.connection.seen()
        await peer.receive()
        gateway.publish("news", "still here")

        assert len(await peer.receive()) == 1

    async def test_transport_without_ping_frames_is_left_in_peace(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Plain ASGI: until the credentials end."""
        peer = gateway.open(alice, pings_seen=False)
        await peer.ask({})

        await gateway.advance(300)
        assert await peer.receive() == []
        assert peer.closed is None
        gateway.loop.advance(3600)

        assert peer.closed == 3005
