"""How long a connection lives: pings, tokens that expire or are revoked, and every way to end."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.ws_gateway.commands import (
    CONNECT_BY_TOKEN,
    MakeCredentials,
    by_token,
    error,
    subscribe,
)
from tests.ws_gateway.conftest import WALL_TIME, Gateway, settle
from ws_gateway.codes import DisconnectCode
from ws_gateway.credentials import Credentials
from ws_gateway.eviction import CLOSES_PER_TURN
from ws_gateway.exceptions import (
    KeysUnavailable,
    RevocationsUnavailable,
    SessionEnded,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
)
from ws_gateway.revocations.deny_set import Kind, Revocation
from ws_gateway.writer import SlowReason


class TestTime:
    """What the session asks for in time is done."""

    async def test_without_connect_it_is_3502(self, gateway: Gateway) -> None:
        """After the connect timeout."""
        peer = gateway.open()

        await gateway.advance(9.8)
        assert peer.closed is None
        await gateway.advance(0.4)

        assert peer.transport.closed == (3502, "stale")

    async def test_pings_are_answered_or_it_is_3012(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 6."""
        peer = await gateway.connect(alice)
        for _ in range(3):
            while not (replies := await peer.receive()):
                await gateway.advance(1)
            assert replies == [{}]
            peer.send({})

        while not await peer.receive():
            await gateway.advance(1)
        await gateway.advance(6.5)
        assert peer.closed is None
        await gateway.advance(2)

        assert peer.closed == 3012

    async def test_credentials_end_the_connection(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """3005 at ``exp``."""
        peer = await gateway.connect(make_credentials(expires_at=WALL_TIME + 5))

        await gateway.advance(4.9)
        assert peer.closed is None
        await gateway.advance(0.3)

        assert peer.transport.closed == (3005, "connection expired")

    async def test_time_goes_on_while_a_command_waits(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """A command in flight keeps no connection alive."""
        peer = await gateway.connect(make_credentials(expires_at=WALL_TIME + 5))
        gateway.broker.held = True
        peer.send(subscribe("news"))

        await gateway.advance(5.2)

        assert peer.closed == 3005

    async def test_tick_after_the_end_is_nothing(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Nor is a message, a stall or a second end."""
        peer = await gateway.connect(alice)
        peer.connection.lost(1001)

        peer.connection.tick(1e9)
        peer.connection.receive(b"{", binary=True)
        peer.connection.stalled()
        peer.connection.slow(SlowReason.BYTES)
        peer.connection.drained()
        peer.connection.lost(1006)

        assert peer.closed is None
        assert not peer.transport.aborted
        assert gateway.node.metrics.disconnects == {1001: 1}
        assert not gateway.node.metrics.queues_dropped


class TestRefresh:
    """Section 11."""

    async def test_new_token_moves_the_end(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """The reply says how long it lasts."""
        peer = await by_token(gateway, make_credentials(expires_at=WALL_TIME + 2))
        gateway.tokens.known["new"] = make_credentials(expires_at=WALL_TIME + 12, jti="2")
        await gateway.advance(3)

        (reply,) = await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert reply == {
            "id": 2,
            "refresh": {
                "client": peer.connection.client,
                "version": "test 1",
                "expires": True,
                "ttl": 9,
            },
        }
        assert peer.connection.session.credentials == gateway.tokens.known["new"]
        while peer.closed is None:
            if {} in await peer.receive():
                peer.send({})
            await gateway.advance(0.5)
        assert peer.closed == 3005
        assert WALL_TIME + 12 + 25 <= gateway.node.clock() <= WALL_TIME + 12 + 26

    async def test_without_a_refresh_it_is_closed_after_the_grace(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """25 s, in which the client may still come with a new one."""
        peer = await by_token(gateway, make_credentials(expires_at=WALL_TIME + 2))

        for _ in range(53):
            if {} in await peer.receive():
                peer.send({})
            await gateway.advance(0.5)
        assert peer.closed is None
        await gateway.advance(1)

        assert peer.closed == 3005

    @pytest.mark.parametrize(
        ("change", "code"),
        [({"user": "bob"}, 3500), ({"issuer": "https://other.example"}, 3500)],
    )
    async def test_another_user_is_3500(
        self,
        gateway: Gateway,
        make_credentials: MakeCredentials,
        change: dict[str, Any],
        code: int,
    ) -> None:
        """Nor the same name of another issuer."""
        peer = await by_token(gateway, make_credentials("alice"))
        gateway.tokens.known["new"] = make_credentials(**{"user": "alice"} | change)

        assert await peer.ask({"id": 2, "refresh": {"token": "new"}}) == []
        assert peer.closed == code

    async def test_bad_token_is_3500_and_an_expired_one_3005(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Terminal, and not."""
        gateway.tokens.known["old"] = TokenExpired()
        bad, old = await by_token(gateway, alice), await by_token(gateway, alice)

        await bad.ask({"id": 2, "refresh": {"token": "bad"}})
        await old.ask({"id": 2, "refresh": {"token": "old"}})

        assert (bad.closed, old.closed) == (3500, 3005)

    async def test_revoked_token_is_3005_and_one_of_an_ended_session_3500(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """After the first a fresh token may be good."""
        gateway.tokens.known |= {"revoked": TokenRevoked(), "ended": SessionEnded()}
        revoked, ended = await by_token(gateway, alice), await by_token(gateway, alice)

        await revoked.ask({"id": 2, "refresh": {"token": "revoked"}})
        await ended.ask({"id": 2, "refresh": {"token": "ended"}})

        assert (revoked.closed, ended.closed) == (3005, 3500)

    async def test_token_of_the_future_is_temporary(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The issuer's clock is ahead: SDKs ask for another one while the old one lasts."""
        peer = await by_token(gateway, alice)
        gateway.tokens.known["new"] = TokenNotYetValid("iat")

        (reply,) = await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert reply == error(100, "token not valid yet", 2, temporary=True)
        assert peer.closed is None

    @pytest.mark.parametrize("why", [KeysUnavailable("down"), RevocationsUnavailable("stale")])
    async def test_unverifiable_token_is_100(
        self, gateway: Gateway, alice: Credentials, why: Exception
    ) -> None:
        """Temporary: nothing is said about the token."""
        peer = await by_token(gateway, alice)
        gateway.tokens.known["new"] = why

        (reply,) = await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert reply == error(100, "internal server error", 2, temporary=True)
        assert peer.closed is None


def revoke(gateway: Gateway, kind: Kind, value: str, *users: str) -> None:
    """Revoke, as a log does that names these users, or nobody."""
    entry = Revocation(kind=kind, value=value, before=int(WALL_TIME), until=int(WALL_TIME) + 600)
    assert gateway.tokens.denied.add(entry, WALL_TIME)
    gateway.node.revoked(users or None)


class TestRevoked:
    """J24 and W25: revoked while it is open, or on the way to be."""

    @pytest.mark.parametrize(
        ("kind", "value", "users", "code"),
        [
            (Kind.JTI, "t1", ("alice",), 3005),
            (Kind.JTI, "t1", (), 3005),
            (Kind.SID, "s1", ("alice",), 3500),
            (Kind.SID, "s1", (), 3500),
            (Kind.SUBJECT, "alice", ("alice",), 3500),
            (Kind.CLIENT, "chat", (), 3500),
            (Kind.KID, "k1", (), 3005),
        ],
    )
    @pytest.mark.parametrize("way", ["handshake", "unconnected", "bare", "token"])
    async def test_open_connection_is_closed_and_others_stay(
        self,
        *,
        gateway: Gateway,
        make_credentials: MakeCredentials,
        way: str,
        kind: Kind,
        value: str,
        users: tuple[str, ...],
        code: int,
    ) -> None:
        """Whatever way it came in; nothing is delivered afterwards."""
        told = {"client_id": "chat", "subject": "alice", "issued_at": int(WALL_TIME) - 5}
        who = make_credentials("alice", jti="t1", sid="s1", kid="k1", **told)
        if way == "token":
            peer = await by_token(gateway, who)
        elif way == "handshake":
            peer = await gateway.connect(who)
        else:
            peer = gateway.open(who)
            if way == "bare":
                await peer.ask(subscribe("news"))
        other = make_credentials(
            "bob", subject="bob", client_id="cli", jti="t2", sid="s2", kid="k2"
        )
        stays, guest = await gateway.connect(other), gateway.open()

        revoke(gateway, kind, value, *users)
        await settle()
        gateway.publish("dm:#alice", "late")

        assert peer.closed == code
        assert (stays.closed, guest.closed) == (None, None)
        assert all(b"late" not in write for write in peer.transport.writes)

    async def test_revocation_between_the_handshakes_check_and_the_connection(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """The entry found nobody to close; the connection is judged again when it joins."""
        who = make_credentials("alice", sid="s1")
        revoke(gateway, Kind.SID, "s1", "alice")
        await settle()

        peer = gateway.open(who)
        await settle()

        assert peer.closed == 3500
        assert gateway.node._eviction.closed == 1

    @pytest.mark.parametrize(("kind", "code"), [(Kind.JTI, 3005), (Kind.SID, 3500)])
    async def test_revocation_while_connect_waits(
        self, gateway: Gateway, make_credentials: MakeCredentials, kind: Kind, code: int
    ) -> None:
        """The token was good when it was verified; then the broker took its time."""
        gateway.tokens.known["good"] = make_credentials("alice", jti="v", sid="v")
        peer = gateway.open()
        gateway.broker.held = True
        peer.send(CONNECT_BY_TOKEN)
        await settle()

        revoke(gateway, kind, "v", "alice")
        await settle()
        gateway.broker.release()
        await settle()

        assert peer.closed == code

    async def test_revocation_while_refresh_waits(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """The new token is revoked before the connection lives on it."""
        peer = await by_token(gateway, make_credentials("alice", jti="old"))
        gateway.tokens.known["new"] = make_credentials("alice", jti="new")
        gateway.tokens.gate = asyncio.Event()
        peer.send({"id": 2, "refresh": {"token": "new"}})
        await settle()

        revoke(gateway, Kind.JTI, "new", "alice")
        await settle()
        assert peer.closed is None
        gateway.tokens.gate.set()
        await settle()

        assert peer.closed == 3005

    async def test_old_token_means_nothing_after_a_refresh_but_its_session_does(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """The rotation of tokens ends no socket."""
        peer = await by_token(gateway, make_credentials("alice", jti="old", sid="s1"))
        gateway.tokens.known["new"] = make_credentials("alice", jti="new", sid="s1")
        await peer.ask({"id": 2, "refresh": {"token": "new"}})

        revoke(gateway, Kind.JTI, "old", "alice")
        await settle()
        assert peer.closed is None

        revoke(gateway, Kind.SID, "s1", "alice")
        await settle()
        assert peer.closed == 3500

    async def test_token_of_connect_replaces_the_cookie(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """The connection is the token's user's now, and no more the cookie's."""
        gateway.tokens.known["good"] = make_credentials("bob", subject="bob", sid="s2")
        peer = gateway.open(make_credentials("alice", subject="alice", sid="s1"))
        await peer.ask(CONNECT_BY_TOKEN)

        revoke(gateway, Kind.SUBJECT, "alice", "alice")
        await settle()
        assert peer.closed is None
        assert list(gateway.node.users.connections("bob")) == [peer.connection]
        assert "alice" not in gateway.node.users

        revoke(gateway, Kind.SUBJECT, "bob", "bob")
        await settle()
        assert peer.closed == 3500

    async def test_thousand_connections_leave_nothing_behind(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Closed in batches; between two of them others are served."""
        who = make_credentials("alice", sid="s1")
        crowd = [gateway.open(who) for _ in range(1000)]
        other = await gateway.connect(make_credentials("bob", sid="s2"))
        revoke(gateway, Kind.SID, "s1", "alice")

        stalls = []
        while open_before := sum(peer.closed is None for peer in crowd):
            gateway.publish("dm:#bob", "hi")
            await asyncio.sleep(0)
            stalls.append(open_before - sum(peer.closed is None for peer in crowd))

        assert max(stalls) <= CLOSES_PER_TURN
        assert {peer.closed for peer in crowd} == {3500}
        assert gateway.node.metrics.disconnects == {3500: 1000}
        assert other.closed is None
        assert await other.receive()
        assert len(gateway.node.users) == 1


class TestEnd:
    """Section 15."""

    async def test_what_is_queued_goes_before_the_close_frame(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """In one write."""
        peer = await gateway.connect(alice)

        peer.send(subscribe("news"), {"id": 3})

        assert peer.closed == 3501
        assert json.dumps({"id": 2, "subscribe": {}}).replace(" ", "").encode() in b"".join(
            peer.transport.writes
        )

    async def test_frame_of_the_peer_that_breaks_rfc_6455(
        self, gateway: Gateway, alice: Credentials, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The transport knows the code."""
        peer = await gateway.connect(alice)
        caplog.set_level(logging.INFO)

        peer.connection.failed(DisconnectCode.MESSAGE_TOO_BIG, "70000")

        assert peer.transport.closed == (1009, "message too big")
        assert caplog.records[-1].__dict__["detail"] == "70000"

    @pytest.mark.parametrize("code", [1000, 1001, 1006])
    async def test_lost_socket_is_cleaned_up(
        self,
        gateway: Gateway,
        alice: Credentials,
        bob: Credentials,
        caplog: pytest.LogCaptureFixture,
        code: int,
    ) -> None:
        """Counted by the peer's code; others stay in the channel."""
        peer, other = await gateway.connect(alice), await gateway.connect(bob)
        for each in (peer, other):
            await each.ask(subscribe("news"))
        caplog.set_level(logging.INFO)

        peer.connection.lost(code)
        gateway.publish("news", 1)

        assert len(await other.receive()) == 1
        assert await peer.receive() == []
        assert peer.closed is None
        assert gateway.node.metrics.disconnects == {code: 1}
        assert caplog.records == []

    @pytest.mark.parametrize("code", [3000, 3004, 3999, 4999])
    async def test_code_that_the_peer_made_up_is_counted_as_3000(
        self, gateway: Gateway, alice: Credentials, code: int
    ) -> None:
        """It would pass for one of ours, and each would be a label of its own (section 14.3)."""
        peer = await gateway.connect(alice)

        peer.connection.lost(code)

        assert gateway.node.metrics.disconnects == {3000: 1}

    async def test_what_is_queued_for_a_lost_socket_is_dropped(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """In the same turn."""
        peer = await gateway.connect(alice)
        gateway.publish("dm:#alice", 1)

        peer.connection.lost(1006)

        assert await peer.receive() == []

    async def test_duration_is_observed(self, gateway: Gateway, alice: Credentials) -> None:
        """``gateway_connection_duration_seconds``."""
        peer = await gateway.connect(alice)
        await gateway.advance(7)

        peer.connection.lost(1000)

        total = gateway.node.metrics.registry.get_sample_value(
            "gateway_connection_duration_seconds_sum"
        )
        assert total == pytest.approx(7)
