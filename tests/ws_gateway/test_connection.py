"""The shell around a session: what is written, in which order, and that nothing is left.

Every test ends with the checks of ``Gateway.check_nothing_left``: an empty hub, no channel at the
broker, no timer, no member, no task, and nothing that the event loop had to report.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.ws_gateway.conftest import WALL_TIME, Gateway, Peer, settle
from ws_gateway.codes import DisconnectCode
from ws_gateway.connection import start
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    BrokerUnavailable,
    KeysUnavailable,
    ReplyError,
    TokenExpired,
)
from ws_gateway.hooks import Caller, Hooks

MakeCredentials = Callable[..., Credentials]
MakeGateway = Callable[..., Gateway]

CONNECT = {"id": 1, "connect": {}}
CONNECT_BY_TOKEN = {"id": 1, "connect": {"token": "good"}}


def subscribe(channel: str, command_id: int = 2) -> dict[str, Any]:
    """Return a command."""
    return {"id": command_id, "subscribe": {"channel": channel}}


def publish(channel: str, data: object, command_id: int = 3) -> dict[str, Any]:
    """Return a command."""
    return {"id": command_id, "publish": {"channel": channel, "data": data}}


def error(code: int, message: str, command_id: int = 0, **more: object) -> dict[str, Any]:
    """Return a reply."""
    reply = {"id": command_id} if command_id else {}
    return reply | {"error": {"code": code, "message": message} | more}


async def by_token(gateway: Gateway, credentials: Credentials) -> Peer:
    """Connect with a token in the command."""
    gateway.tokens.known["good"] = credentials
    peer = gateway.open()
    (reply,) = await peer.ask(CONNECT_BY_TOKEN)
    assert "connect" in reply
    return peer


class TestConnect:
    """Protocol section 5."""

    async def test_reply_says_what_an_sdk_indexes(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """No ``expires`` for the handshake's credentials; the personal channel is there."""
        peer = gateway.open(alice)

        (reply,) = await peer.ask(CONNECT)

        assert reply == {
            "id": 1,
            "connect": {
                "client": peer.connection.client,
                "version": "test 1",
                "subs": {"dm:#alice": {}},
                "ping": 25,
                "pong": True,
                "node": gateway.node.id,
            },
        }
        assert gateway.tokens.asked == []

    async def test_token_of_connect_is_verified_and_expires(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The client is told when to refresh."""
        gateway.tokens.known["good"] = alice
        peer = gateway.open()

        (reply,) = await peer.ask(CONNECT_BY_TOKEN)

        assert reply["connect"]["expires"] is True
        assert reply["connect"]["ttl"] == 3600

    async def test_token_beats_the_cookie(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """It is verified as if there were none."""
        gateway.tokens.known["good"] = bob
        peer = gateway.open(alice)

        (reply,) = await peer.ask(CONNECT_BY_TOKEN)

        assert list(reply["connect"]["subs"]) == ["dm:#bob"]

    @pytest.mark.parametrize("lifetime", [0.001, 0.0, -20.0])
    async def test_ttl_is_never_zero(
        self, gateway: Gateway, make_credentials: MakeCredentials, lifetime: float
    ) -> None:
        """A zero would be left out where SDKs look for it; a verifier may allow for skew."""
        gateway.tokens.known["good"] = make_credentials(expires_at=WALL_TIME + lifetime)
        peer = gateway.open()

        (reply,) = await peer.ask(CONNECT_BY_TOKEN)

        assert reply["connect"]["ttl"] == 1

    async def test_native_pings_are_not_announced(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 1: then the reply has no ``ping`` and no ``pong``."""
        peer = gateway.open(alice, frame_pings=True)

        (reply,) = await peer.ask(CONNECT)

        assert not {"ping", "pong"} & reply["connect"].keys()

    async def test_user_without_a_personal_channel_gets_no_subs(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """A foreign subject; the field is left out."""
        peer = gateway.open(make_credentials("a,b"))

        (reply,) = await peer.ask(CONNECT)

        assert "subs" not in reply["connect"]

    async def test_channels_of_the_token_are_subscribed(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Whatever their namespace allows to clients (section 13)."""
        peer = gateway.open(make_credentials(channels=("staff:1",)))

        (reply,) = await peer.ask(CONNECT)
        gateway.publish("staff:1", "hi")

        assert list(reply["connect"]["subs"]) == ["staff:1", "dm:#alice"]
        assert await peer.receive() == [{"push": {"channel": "staff:1", "pub": {"data": "hi"}}}]

    async def test_reply_is_the_first_thing_written(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 5: pushes of server-side subscriptions come after it."""
        peer = gateway.open(alice)
        gateway.broker.held = True
        peer.send(CONNECT)
        await settle()

        gateway.broker.release()
        for _ in range(5):
            gateway.publish("dm:#alice", "hi")
            await asyncio.sleep(0)

        replies = await peer.receive()
        assert "connect" in replies[0]
        assert "push" in replies[-1]

    async def test_whole_batch_is_answered_in_order(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 4: JS sends connect and its subscribes in one frame."""
        gateway.tokens.known["good"] = alice
        peer = gateway.open()

        replies = await peer.ask(CONNECT_BY_TOKEN, subscribe("a", 2), subscribe("b", 3))

        assert [reply["id"] for reply in replies] == [1, 2, 3]
        assert len(peer.transport.writes) == 0

    @pytest.mark.parametrize(
        ("outcome", "code"),
        [(TokenExpired(), 109), (KeysUnavailable("down"), 100), (BrokerUnavailable(), 100)],
    )
    async def test_refused_connect_is_answered_and_followed_by_nothing(
        self, gateway: Gateway, alice: Credentials, outcome: Exception, code: int
    ) -> None:
        """Section 4: the commands behind it are not processed, and the next one is 3501."""
        gateway.tokens.known["good"] = outcome
        if isinstance(outcome, BrokerUnavailable):
            gateway.tokens.known["good"] = alice
            gateway.broker.down = outcome
        peer = gateway.open()

        replies = await peer.ask(CONNECT_BY_TOKEN, subscribe("news"))

        assert [reply["error"]["code"] for reply in replies] == [code]
        assert replies[0]["id"] == 1
        assert peer.closed == 3501
        assert ("subscribe", "news") not in gateway.broker.requests

    async def test_refused_connect_is_closed_in_time(self, gateway: Gateway) -> None:
        """3502, unless the client goes first."""
        peer = gateway.open()
        (reply,) = await peer.ask(CONNECT)

        await gateway.advance(10.2)

        assert reply == error(109, "token expired", 1)
        assert peer.closed == 3502

    async def test_bad_token_is_3500(self, gateway: Gateway) -> None:
        """No reply; SDKs stay away."""
        peer = gateway.open()

        assert await peer.ask(CONNECT_BY_TOKEN) == []
        assert peer.transport.closed == (3500, "invalid token")

    async def test_token_without_the_scope_is_3507(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Design section 2: ``connect`` is the default of users."""
        gateway.tokens.known["good"] = make_credentials(scopes=frozenset({"api"}))
        peer = gateway.open()

        assert await peer.ask(CONNECT_BY_TOKEN) == []
        assert peer.closed == 3507

    async def test_issuer_may_need_no_scope(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """``scope`` of its entry is empty."""
        gateway.tokens.required = ""

        await by_token(gateway, make_credentials(scopes=frozenset()))

    async def test_claim_of_an_unknown_channel_is_102(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Section 5; nothing of the others is kept."""
        peer = gateway.open(make_credentials(channels=("staff:1", "nowhere:1")))

        assert await peer.ask(CONNECT) == [error(102, "unknown channel", 1)]
        assert not len(gateway.node.hub)

    async def test_verification_past_the_connect_timeout_is_3502(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The client waits no longer, and a late answer changes nothing."""
        gateway.tokens.known["good"] = alice
        gateway.tokens.gate = asyncio.Event()
        peer = gateway.open()
        peer.send(CONNECT_BY_TOKEN)

        await gateway.advance(10.2)
        gateway.tokens.gate.set()

        assert await peer.receive() == []
        assert peer.closed == 3502

    async def test_connection_says_once_that_it_has_authenticated(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """It no longer counts among the unknown ones; nor when it ends."""
        calls: list[str] = []
        gateway.tokens.known["good"] = alice
        peer = gateway.open(authenticated=lambda: calls.append("now"))

        await peer.ask(CONNECT_BY_TOKEN)
        before = list(calls)
        peer.connection.lost(1000)

        assert before == calls == ["now"]

    async def test_connection_that_ends_before_says_so_too(self, gateway: Gateway) -> None:
        """Or the count would only grow."""
        calls: list[str] = []
        peer = gateway.open(authenticated=lambda: calls.append("now"))
        await peer.ask(CONNECT)
        assert calls == []

        peer.connection.lost(1006)
        peer.connection.lost(1006)

        assert calls == ["now"]


class TestCommands:
    """Protocol sections 7 and 11."""

    async def test_subscriber_receives_its_own_publication(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """``info`` is set by the gateway."""
        peer = await gateway.connect(alice)

        replies = await peer.ask(subscribe("news"), publish("news", {"x": 1}))

        info = {
            "user": "alice",
            "client": peer.connection.client,
            "conn_info": {"name": "Alice"},
        }
        assert replies == [
            {"id": 2, "subscribe": {}},
            {"push": {"channel": "news", "pub": {"data": {"x": 1}, "info": info}}},
            {"id": 3, "publish": {}},
        ]

    async def test_publisher_need_not_be_subscribed(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Nor has it to be told anything of itself."""
        sender, receiver = await gateway.connect(bob), await gateway.connect(alice)
        await receiver.ask(subscribe("news"))

        assert await sender.ask(publish("news", 1)) == [{"id": 3, "publish": {}}]

        (push,) = await receiver.receive()
        assert push["push"]["pub"]["info"] == {
            "user": "bob",
            "client": sender.connection.client,
        }

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            (subscribe("nowhere:1"), error(102, "unknown channel", 2)),
            (subscribe("staff:1"), error(103, "permission denied", 2)),
            (subscribe("dm:#alice"), error(105, "already subscribed", 2)),
            (subscribe("dm:#bob"), error(103, "permission denied", 2)),
            (subscribe("x" * 256), error(107, "bad request", 2)),
            (publish("room:1", 1), error(103, "permission denied", 3)),
            (publish("dm:#a,b", 1), error(103, "permission denied", 3)),
            (publish("dm:#nobody", 1), error(1404, "not connected", 3)),
            ({"id": 3, "publish": {"channel": "news"}}, error(107, "bad request", 3)),
            ({"id": 4, "rpc": {"method": "x"}}, error(108, "not available", 4)),
            ({"id": 5, "presence": {"channel": "news"}}, error(108, "not available", 5)),
            ({"id": 5, "presence": {"channel": "no:1"}}, error(102, "unknown channel", 5)),
            ({"id": 5, "presence_stats": {"channel": "news"}}, error(108, "not available", 5)),
            ({"id": 5, "history": {"channel": "news"}}, error(108, "not available", 5)),
            ({"id": 6, "sub_refresh": {"channel": "x"}}, error(103, "permission denied", 6)),
            ({"id": 7, "unsubscribe": {"channel": "x"}}, {"id": 7, "unsubscribe": {}}),
        ],
    )
    async def test_answer_keeps_the_commands_id(
        self, gateway: Gateway, alice: Credentials, command: object, expected: object
    ) -> None:
        """Section 4, step 8; the connection goes on."""
        peer = await gateway.connect(alice)

        assert await peer.ask(command) == [expected]
        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ("", 3501),
            ("{", 3501),
            ('{"id":1,"connect":{}}', 3501),
            ("{}", 3501),
            ('{"id":3}', 3501),
            ('{"id":3,"fly":{}}', 3501),
            (
                '{"id":2,"subscribe":{"channel":"a"}}\n\n{"id":3,"unsubscribe":{"channel":"a"}}',
                3501,
            ),
            ('{"id":2,"subscribe":{}}', 3501),
            ('{"id":2,"refresh":{"token":"good"}}', 3501),
            ('{"id":2,"ping":{}}', 3501),
            ('{"send":{"data":1}}', 3508),
        ],
    )
    async def test_broken_protocol_ends_the_connection(
        self,
        gateway: Gateway,
        alice: Credentials,
        caplog: pytest.LogCaptureFixture,
        message: str,
        code: int,
    ) -> None:
        """With the code, and one log line."""
        peer = await gateway.connect(alice)
        caplog.set_level(logging.INFO)

        peer.send_text(message)
        await settle()

        assert peer.closed == code
        (record,) = caplog.records
        assert record.getMessage() == "connection closed"
        assert record.__dict__["code"] == code
        assert record.__dict__["connection"] == peer.connection.client
        assert gateway.node.metrics.disconnects == {code: 1}

    async def test_binary_message_in_json_mode_is_3501(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Design section 2."""
        peer = await gateway.connect(alice)

        peer.connection.receive(b'{"id":2,"rpc":{}}', binary=True)

        assert peer.closed == 3501

    async def test_refusal_is_one_log_line_without_payload(
        self, gateway: Gateway, alice: Credentials, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What failed, not what was in it."""
        peer = await gateway.connect(alice)
        caplog.set_level(logging.INFO)

        await peer.ask(publish("staff:1", "secret"))

        (record,) = caplog.records
        assert record.getMessage() == "command refused"
        assert (record.__dict__["command"], record.__dict__["code"]) == ("publish", 103)
        assert "secret" not in str(record.__dict__)
        assert gateway.node.metrics.command_errors == {103: 1}

    async def test_unsubscribed_channel_is_silent(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """And may be subscribed again."""
        peer = await gateway.connect(alice)
        await peer.ask(subscribe("news"))

        await peer.ask({"id": 3, "unsubscribe": {"channel": "news"}})
        gateway.publish("news", 1)

        assert await peer.receive() == []
        assert not gateway.broker.subscribed("news")
        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]

    async def test_129th_channel_is_106(self, gateway: Gateway, alice: Credentials) -> None:
        """Server-side subscriptions count: alice's own is the first."""
        peer = await gateway.connect(alice)
        for number in range(127):
            (reply,) = await peer.ask(subscribe(f"c{number}"))
            assert "subscribe" in reply

        assert await peer.ask(subscribe("one")) == [error(106, "limit exceeded", 2)]

    async def test_commands_are_counted_by_name(self, gateway: Gateway, alice: Credentials) -> None:
        """Bounded labels, never a channel."""
        peer = await gateway.connect(alice)

        await peer.ask(subscribe("a"), subscribe("b"), publish("a", 1))

        assert gateway.node.metrics.messages_received == {
            "connect": 1,
            "subscribe": 2,
            "publish": 1,
        }

    async def test_data_that_others_cannot_read_is_107(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A subscriber's parser is not the place to find out."""
        peer = await gateway.connect(alice)
        await peer.ask(subscribe("news"))

        for data in ("1e999", "1" * 5000, "[[-1e400]]"):
            peer.send_text(f'{{"id":3,"publish":{{"channel":"news","data":{data}}}}}')
            assert await peer.receive() == [error(107, "bad request", 3)]


class TestPrivateMessages:
    """A publication into ``dm:#ID`` (design section 2)."""

    async def test_it_reaches_all_of_the_users_connections(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """And says who sent it."""
        devices = [await gateway.connect(bob), gateway.open(bob)]
        await devices[1].ask({})
        sender = await gateway.connect(alice)

        assert await sender.ask(publish("dm:#bob", "hi")) == [{"id": 3, "publish": {}}]

        for device in devices:
            (push,) = await device.receive()
            assert push["push"]["channel"] == "dm:#bob"
            assert push["push"]["pub"]["data"] == "hi"
            assert push["push"]["pub"]["info"]["user"] == "alice"

    async def test_user_who_has_gone_is_1404(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """``dm:`` has no history: the sender must know."""
        sender, receiver = await gateway.connect(alice), await gateway.connect(bob)
        receiver.connection.lost(1006)

        assert await sender.ask(publish("dm:#bob", "hi")) == [error(1404, "not connected", 3)]

    async def test_message_to_oneself_arrives(self, gateway: Gateway, alice: Credentials) -> None:
        """On this very connection."""
        peer = await gateway.connect(alice)

        replies = await peer.ask(publish("dm:#alice", "note"))

        assert [next(iter(reply)) for reply in replies] == ["push", "id"]


class TestInFlight:
    """While a command waits, what arrives is kept in order, up to a bound."""

    async def test_commands_are_queued_in_order(self, gateway: Gateway, alice: Credentials) -> None:
        """Sequential per connection (protocol section 4, step 7)."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("a", 2))
        peer.send(publish("news", 1, 3), {"id": 4, "unsubscribe": {"channel": "a"}})
        peer.send(subscribe("b", 5))
        assert await peer.receive() == []
        assert gateway.broker.waiting == 1

        gateway.broker.release()

        assert [reply["id"] for reply in await peer.receive()] == [2, 3, 4, 5]
        assert not gateway.broker.subscribed("a")

    async def test_command_that_arrives_as_another_ends_keeps_its_place(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Between the end of the work and the news of it."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("a", 2))
        peer.send({"id": 3, "unsubscribe": {"channel": "x"}})
        await settle()
        gateway.broker.release()
        for command_id in range(4, 12):
            peer.send({"id": command_id, "unsubscribe": {"channel": "x"}})
            await asyncio.sleep(0)

        replies = await peer.receive()

        assert [reply["id"] for reply in replies] == list(range(2, 12))

    async def test_publications_flow_meanwhile(self, gateway: Gateway, alice: Credentials) -> None:
        """Those of other channels do not wait for a command."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))

        gateway.publish("dm:#alice", 1)

        assert len(await peer.receive()) == 1

    async def test_subscribe_reply_comes_before_its_publications(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 7.4: and none that follows is lost."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        await settle()

        gateway.broker.release()
        for number in range(5):
            gateway.publish("news", number)
            await asyncio.sleep(0)
        gateway.publish("news", "last")

        replies = await peer.receive()
        assert replies[0] == {"id": 2, "subscribe": {}}
        assert replies[-1]["push"]["pub"]["data"] == "last"

    async def test_reading_is_paused_over_the_bound_and_resumed(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """One message's worth may wait; the rest waits in the peer."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("a"))
        paused = []
        for _ in range(2):
            peer.send(publish("news", "x" * 500))
            paused.append(peer.transport.paused)

        gateway.broker.release()

        assert paused == [False, True]
        assert len(await peer.receive()) == 3
        assert not peer.transport.paused

    async def test_reading_stays_paused_until_enough_is_done(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Not only until the first waits no more."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        for command_id in range(2, 6):
            peer.send(publish("news", "x" * 600, command_id))
        await settle()

        for paused in (True, False):
            gateway.broker.release(count=1)
            await settle()
            assert peer.transport.paused is paused

    @pytest.mark.parametrize("message", ["", "{}"])
    async def test_tiny_messages_are_bounded_too(
        self, gateway: Gateway, alice: Credentials, message: str
    ) -> None:
        """Each costs memory, also if it has no bytes."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("a"))

        for _ in range(100):
            peer.send_text(message)

        assert peer.transport.paused

    async def test_end_in_the_middle_discards_what_waits(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Commands behind the one that ends the connection are not performed."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("a"))
        peer.send({"id": 3})
        peer.send(publish("news", 1))

        gateway.broker.release()

        assert await peer.receive() == [{"id": 2, "subscribe": {}}]
        assert peer.closed == 3501
        assert ("publish", "news") not in gateway.broker.requests

    @pytest.mark.parametrize("turns", [0, 1, 5])
    async def test_disconnect_during_a_subscribe_leaves_no_channel(
        self, gateway: Gateway, alice: Credentials, turns: int
    ) -> None:
        """Neither in the hub nor at the broker, at whatever moment it comes."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        for _ in range(turns):
            await asyncio.sleep(0)

        peer.connection.lost(1006)
        gateway.broker.release()
        await settle()

        assert gateway.broker.channels == set()
        assert len(gateway.node.hub) == 0

    @pytest.mark.parametrize("turns", range(6))
    async def test_disconnect_just_after_the_answer_leaves_no_channel(
        self, gateway: Gateway, alice: Credentials, turns: int
    ) -> None:
        """The broker has answered, the command has not noticed yet."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        await settle()
        gateway.broker.release()
        for _ in range(turns):
            await asyncio.sleep(0)

        peer.connection.lost(1006)
        await settle()

        assert gateway.broker.channels == set()
        assert len(gateway.node.hub) == 0

    @pytest.mark.parametrize("turns", range(4))
    async def test_disconnect_during_connect_leaves_nothing(
        self, gateway: Gateway, alice: Credentials, turns: int
    ) -> None:
        """While the token is verified, or the personal channel subscribed."""
        gateway.tokens.known["good"] = alice
        gateway.tokens.gate = asyncio.Event()
        gateway.broker.held = True
        peer = gateway.open()
        peer.send(CONNECT_BY_TOKEN)
        await settle()
        gateway.tokens.gate.set()
        for _ in range(turns):
            await asyncio.sleep(0)

        peer.connection.lost(1006)
        gateway.broker.release()
        await settle()

        assert gateway.broker.channels == set()

    async def test_disconnect_during_a_publish_does_not_unpublish(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """It was accepted; the sender's end is its own."""
        sender, receiver = await gateway.connect(bob), await gateway.connect(alice)
        gateway.broker.held = True
        sender.send(publish("dm:#alice", "last words"))
        await settle()

        sender.connection.lost(1006)
        gateway.broker.release()

        assert len(await receiver.receive()) == 1

    async def test_failure_after_the_client_has_gone_is_nobodys(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """No "never retrieved" in the log."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        peer.connection.lost(1006)

        gateway.broker.release(BrokerUnavailable())
        await settle()

    async def test_broker_that_is_away_is_100(self, gateway: Gateway, alice: Credentials) -> None:
        """Temporary, and the socket stays (design section 3)."""
        peer = await gateway.connect(alice)
        gateway.broker.down = BrokerUnavailable()

        replies = await peer.ask(subscribe("a", 2), publish("news", 1, 3))

        assert replies == [
            error(100, "internal server error", 2, temporary=True),
            error(100, "internal server error", 3, temporary=True),
        ]
        gateway.broker.down = None
        assert await peer.ask(subscribe("a", 4)) == [{"id": 4, "subscribe": {}}]

    async def test_broker_that_goes_away_in_between_is_100(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Then the channel is not subscribed."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("a", 2))
        await settle()

        gateway.broker.release(BrokerUnavailable())

        assert (await peer.receive())[0]["error"]["code"] == 100
        assert "a" not in peer.connection.session.channels


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
        peer.connection.slow()
        peer.connection.drained()
        peer.connection.lost(1006)

        assert peer.closed is None
        assert not peer.transport.aborted
        assert gateway.node.metrics.disconnects == {1001: 1}


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

    async def test_unreachable_keys_are_100(self, gateway: Gateway, alice: Credentials) -> None:
        """Temporary: nothing is said about the token."""
        peer = await by_token(gateway, alice)
        gateway.tokens.known["new"] = KeysUnavailable("down")

        (reply,) = await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert reply == error(100, "internal server error", 2, temporary=True)
        assert peer.closed is None


class TestHooks:
    """``rpc`` (section 11)."""

    async def test_result_is_the_reply(self, make_gateway: MakeGateway, alice: Credentials) -> None:
        """And commands behind it wait for it."""
        hooks = Hooks()

        @hooks.rpc("echo")
        async def echo(_caller: Caller, data: Any) -> Any:  # noqa: ANN401
            await asyncio.sleep(0)
            return data

        peer = await make_gateway(hooks=hooks).connect(alice)

        replies = await peer.ask(
            {"id": 2, "rpc": {"method": "echo", "data": {"é": [1, None]}}}, subscribe("a", 3)
        )

        assert replies == [
            {"id": 2, "rpc": {"data": {"é": [1, None]}}},
            {"id": 3, "subscribe": {}},
        ]

    async def test_failing_hook_fails_its_command_only(
        self, make_gateway: MakeGateway, alice: Credentials, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No word of the cause on the wire."""
        hooks = Hooks()

        @hooks.rpc("fail")
        async def fail(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise RuntimeError("password is hunter2")

        @hooks.rpc("refuse")
        async def refuse(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise ReplyError(1042, "sold out")

        @hooks.rpc("cancelled")
        async def cancelled(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            raise asyncio.CancelledError

        peer = await make_gateway(hooks=hooks).connect(alice)

        replies = [
            (await peer.ask({"id": number, "rpc": {"method": method}}))[0]
            for number, method in enumerate(["fail", "refuse", "cancelled", "other"], 2)
        ]

        assert replies == [
            error(100, "internal server error", 2, temporary=True),
            error(1042, "sold out", 3),
            error(100, "internal server error", 4, temporary=True),
            error(104, "method not found", 5),
        ]
        assert peer.closed is None
        assert "hook failed" in caplog.text

    async def test_hook_is_cancelled_when_the_client_goes(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Before it has begun, and in the middle."""
        events: list[str] = []
        hooks = Hooks()

        @hooks.rpc("wait")
        async def wait(_caller: Caller, _data: Any) -> None:  # noqa: ANN401
            events.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                events.append("ended")

        gateway = make_gateway(hooks=hooks)
        for turns in (0, 1, 5):
            peer = await gateway.connect(alice)
            peer.send({"id": 2, "rpc": {"method": "wait"}})
            for _ in range(turns):
                await asyncio.sleep(0)
            peer.connection.lost(1006)
            await settle()

        assert events.count("begun") == events.count("ended") >= 1

    async def test_no_depth_of_an_argument_is_our_bug(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """An answer, 107, or 3501: never 3004, wherever the parsers give up."""
        hooks = Hooks()

        @hooks.rpc("echo")
        async def echo(_caller: Caller, data: Any) -> Any:  # noqa: ANN401
            return data

        gateway = make_gateway(hooks=hooks)
        for depth in (*range(850, 1010, 2), 3000, 20_000):
            peer = await gateway.connect(alice)
            argument = "[" * depth + "]" * depth

            peer.send_text(f'{{"id":2,"rpc":{{"method":"echo","data":{argument}}}}}')

            await settle()
            assert peer.closed in {None, 3501}
            peer.connection.lost(1000)


class TestOurBug:
    """3004, logged with an id (design section 2)."""

    @pytest.mark.parametrize("suspended", [False, True])
    async def test_unexpected_exception_is_3004(
        self,
        gateway: Gateway,
        alice: Credentials,
        caplog: pytest.LogCaptureFixture,
        suspended: bool,
    ) -> None:
        """The client is told nothing of it; the log has an incident to look for."""
        peer = await gateway.connect(alice)
        caplog.set_level(logging.INFO)
        gateway.broker.held = suspended
        gateway.broker.down = RuntimeError("secret of the broker")

        peer.send(subscribe("news"))
        await settle()
        gateway.broker.release(RuntimeError("secret of the broker"))

        assert await peer.receive() == []
        assert peer.transport.closed == (3004, "internal server error")
        bug, end = caplog.records
        assert bug.levelno == logging.ERROR
        assert bug.exc_info is not None
        assert bug.__dict__["connection"] == peer.connection.client
        assert bug.__dict__["id"] == end.__dict__["detail"]
        assert len(bug.__dict__["id"]) == 32

    async def test_others_are_unaffected(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """One connection's bug is its own."""
        victim, other = await gateway.connect(alice), await gateway.connect(bob)
        gateway.broker.down = RuntimeError()
        await victim.ask(subscribe("news"))
        gateway.broker.down = None

        assert await other.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]


class TestSlowReader:
    """Promise 3: a bounded number of bytes and seconds, and never another's delay."""

    async def test_too_many_bytes_are_3008(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Aborted: a close frame would only queue behind them."""
        slow, other = await gateway.connect(alice), await gateway.connect(bob)
        for peer in (slow, other):
            await peer.ask(subscribe("news"))
        slow.connection.stalled()
        slow.transport.unread = 10_001

        gateway.publish("news", 1)

        assert len(await other.receive()) == 1
        assert slow.transport.aborted
        assert slow.closed is None
        assert gateway.node.metrics.disconnects == {3008: 1}
        gateway.publish("news", 2)
        assert len(await other.receive()) == 1
        assert gateway.node.hub.subscriptions == 2

    async def test_too_long_a_stall_is_3008(self, gateway: Gateway, alice: Credentials) -> None:
        """Also if nothing more is written."""
        peer = await gateway.connect(alice)
        peer.connection.stalled()

        aborted = []
        for seconds in (4.9, 0.3):
            await gateway.advance(seconds)
            aborted.append(peer.transport.aborted)

        assert aborted == [False, True]
        assert gateway.node.metrics.disconnects == {3008: 1}

    async def test_reader_that_catches_up_is_forgiven(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """As often as it does so in time."""
        peer = await gateway.connect(alice)
        for _ in range(4):
            peer.connection.stalled()
            await gateway.advance(2)
            peer.connection.drained()
            await gateway.advance(0.1)
        peer.transport.unread = 1_000_000
        gateway.publish("dm:#alice", 1)

        assert len(await peer.receive()) == 1
        assert not peer.transport.aborted

    async def test_stall_does_not_delay_the_connections_other_times(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Whichever comes first."""
        peer = await gateway.connect(make_credentials(expires_at=WALL_TIME + 3))
        peer.connection.stalled()

        await gateway.advance(3.2)

        assert peer.closed == 3005

    async def test_close_of_a_slow_reader_is_an_abort(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """What is flushed before the close frame finds the buffer full."""
        peer = await gateway.connect(alice)
        peer.connection.stalled()
        peer.transport.unread = 10_001
        gateway.publish("dm:#alice", 1)

        await gateway.node.drain(0)

        assert peer.transport.aborted
        assert peer.closed is None
        assert gateway.node.metrics.disconnects == {3008: 1}

    async def test_its_commands_in_flight_are_given_up(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Nothing of it remains."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        peer.connection.stalled()

        await gateway.advance(5.2)
        gateway.broker.release()
        await settle()

        assert gateway.broker.channels == set()


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


class TestStart:
    """A coroutine is stepped by hand, and becomes a task only if it has to wait."""

    @staticmethod
    def run(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Start it on the running loop."""
        return start(work, asyncio.get_running_loop())

    async def test_work_that_never_waits_needs_no_task(self) -> None:
        """It is done when ``start`` returns."""
        done: list[int] = []

        async def work() -> None:
            done.append(1)

        assert self.run(work()) is None
        assert done == [1]

    async def test_exception_before_the_first_wait_is_raised(self) -> None:
        """At once, to the caller."""

        async def work() -> None:
            raise ValueError("now")

        with pytest.raises(ValueError, match="now"):
            self.run(work())

    async def test_rest_is_a_task(self) -> None:
        """What was before the first wait has happened; values come in as they should."""
        events: list[object] = []
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            events.append("begun")
            events.append(await future)
            await asyncio.sleep(0)
            events.append(await asyncio.wait_for(asyncio.sleep(0, "slept"), 10))

        task = self.run(work())
        assert task is not None
        assert events == ["begun"]
        future.set_result("result")

        await task

        assert events == ["begun", "result", "slept"]

    async def test_bare_yield_is_a_wait(self) -> None:
        """``sleep(0)``."""
        events: list[int] = []

        async def work() -> None:
            for number in range(3):
                events.append(number)
                await asyncio.sleep(0)

        task = self.run(work())
        assert task is not None
        assert events == [0]

        await task

        assert events == [0, 1, 2]

    async def test_future_that_fails_raises_inside(self) -> None:
        """And what the work raises is the task's."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                await future
            except ValueError as error:
                raise KeyError("inside") from error

        task = self.run(work())
        assert task is not None
        future.set_exception(ValueError())

        with pytest.raises(KeyError, match="inside"):
            await task

    @pytest.mark.parametrize("turns", [0, 1, 3])
    async def test_cancellation_reaches_the_work(self, turns: int) -> None:
        """Also before the task has made its first step: as ``CancelledError``, where it waits."""
        events: list[str] = []
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                await future
            except asyncio.CancelledError:
                events.append("cancelled")
                raise
            finally:
                events.append("ended")

        task = self.run(work())
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)

        task.cancel()
        await settle()

        assert task.cancelled()
        assert events == ["cancelled", "ended"]
        assert future.cancelled()

    @pytest.mark.parametrize("turns", [0, 1])
    async def test_work_may_wait_while_it_is_cancelled(self, turns: int) -> None:
        """To clean up; then it may even go on."""
        events: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                events.append("cleaned up")

        task = self.run(work())
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)

        task.cancel()
        await settle()

        assert events == ["cleaned up"]
        assert task.done()
        assert not task.cancelled()

    async def test_cancellation_of_one_that_has_its_answer(self) -> None:
        """The answer came in the same turn: the work is cancelled all the same."""
        events: list[str] = []
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                await future
            finally:
                events.append("ended")

        task = self.run(work())
        assert task is not None
        future.set_result(None)

        task.cancel()
        await settle()

        assert task.cancelled()
        assert events == ["ended"]
