"""The shell around a session: what is written, in which order, and that nothing is left.

Every test ends with the checks of ``Gateway.check_nothing_left``: an empty hub, no channel at the
broker, no timer, no member, no task, and nothing that the event loop had to report.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import settings
from msgspec import Raw

from tests.ws_gateway.any_conversation import AnyConversation
from tests.ws_gateway.conftest import WALL_TIME, FakeLoop, Gateway, Peer, raw, settle
from tests.ws_gateway.hmac_backend import SECRET, sign
from ws_gateway.broker.base import PLAIN, Link, Published, PublishOptions
from ws_gateway.codes import DisconnectCode
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.eviction import CLOSES_PER_TURN
from ws_gateway.exceptions import (
    BrokerUnavailable,
    Disconnect,
    KeysUnavailable,
    ReplyError,
    RevocationsUnavailable,
    SessionEnded,
    TokenExpired,
    TokenRevoked,
)
from ws_gateway.frames import BINARY, split
from ws_gateway.hooks import Caller, ConnectAnswer, Hooks, PublishAnswer, SubscribeAnswer
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.codec import PROTOBUF
from ws_gateway.protocol.messages import Publication
from ws_gateway.rate_limit import Rate
from ws_gateway.revocations.deny_set import Kind, Revocation
from ws_gateway.subscription_tokens import SubscriptionTokens
from ws_gateway.writer import SlowReason

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


def send(peer: Peer, *commands: pb.Command) -> None:
    """Send one Protobuf message of these commands, none longer than 127 bytes."""
    parts = [command.SerializeToString() for command in commands]
    peer.connection.receive(b"".join(bytes([len(part)]) + part for part in parts), binary=True)


async def replies(peer: Peer) -> list[pb.Reply]:
    """Return what has come since the last call; none of it longer than 127 bytes."""
    await settle()
    frames = list(split(b"".join(peer.transport.writes)))
    peer.transport.writes.clear()
    assert all(opcode == BINARY and content[0] == len(content) - 1 for opcode, content in frames)
    return [pb.Reply.FromString(content[1:]) for _, content in frames]


class TestProtobuf:
    """The other encoding; everything else is the same."""

    async def test_commands_are_answered_in_order(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Several in one message, as the JavaScript SDK sends them."""
        peer = gateway.open(alice, codec=PROTOBUF)

        send(
            peer,
            pb.Command(id=1, connect={"name": "js"}),
            pb.Command(id=2, subscribe={"channel": "room:1", "flag": 1}),
            pb.Command(id=3, publish={"channel": "room:1", "data": b'{"a":1}'}),
            pb.Command(id=4, unsubscribe={"channel": "room:1"}),
        )
        answers = await replies(peer)

        connect, *rest = answers
        assert connect.connect.client == peer.connection.client
        assert connect.connect.subs.keys() == {"dm:#alice"}
        assert (connect.connect.ping, connect.connect.pong) == (25, True)
        assert [reply.id for reply in rest] == [2, 0, 3, 4]
        assert [field.name for reply in rest for field, _ in reply.ListFields()] == [
            *("id", "subscribe", "push", "id", "publish", "id", "unsubscribe")
        ]
        assert rest[1].push.pub.data == b'{"a":1}'
        assert rest[1].push.pub.info.user == "alice"

    async def test_ping_is_one_byte_and_so_is_the_pong(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 6."""
        peer = gateway.open(alice, codec=PROTOBUF)
        send(peer, pb.Command(id=1, connect={}))
        await replies(peer)

        for _ in range(25):  # it comes after half an interval to a whole one
            await gateway.advance(1)
            if pings := await replies(peer):
                break
        else:
            pytest.fail("no ping")
        assert pings == [pb.Reply()]
        send(peer, pb.Command())
        await gateway.advance(9)

        assert peer.closed is None
        send(peer, pb.Command())
        assert peer.closed == 3501

    async def test_text_is_3501(self, gateway: Gateway, alice: Credentials) -> None:
        """A text message in Protobuf mode."""
        peer = gateway.open(alice, codec=PROTOBUF)

        peer.send({"id": 1, "connect": {}})

        assert peer.closed == 3501

    async def test_both_encodings_in_one_channel(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """A payload is the same bytes for both."""
        json_peer = await gateway.connect(bob)
        await json_peer.ask(subscribe("room:1"))
        peer = gateway.open(alice, codec=PROTOBUF)

        send(
            peer,
            pb.Command(subscribe={"channel": "room:1"}),
            pb.Command(publish={"channel": "room:1", "data": b'{"a":\n[1]}'}),
        )
        (reply,) = await json_peer.receive()

        assert reply["push"]["pub"]["data"] == {"a": [1]}
        (push,) = [reply.push for reply in await replies(peer)]
        assert push.pub.data == b'{"a": [1]}'

    @pytest.mark.parametrize("data", [b"\x00", b"", b'{"a":\n1}', b'"\xff"', b'1},"x":{"y":1'])
    async def test_what_json_cannot_carry_is_3506_for_json_clients(
        self, gateway: Gateway, alice: Credentials, bob: Credentials, data: bytes
    ) -> None:
        """Never broken JSON, nor anything said in the server's name; the others are served."""
        json_peer = await gateway.connect(bob)
        await json_peer.ask(subscribe("bytes:1"))
        peer = gateway.open(alice, codec=PROTOBUF)

        send(
            peer,
            pb.Command(subscribe={"channel": "bytes:1"}),
            pb.Command(publish={"channel": "bytes:1", "data": b"1"}),
            pb.Command(publish={"channel": "bytes:1", "data": data}),
        )
        received = await json_peer.receive()

        assert [reply["push"]["pub"]["data"] for reply in received] == [1]
        assert json_peer.closed == 3506
        assert [reply.push.pub.data for reply in await replies(peer)] == [b"1", data]
        assert peer.closed is None


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
        [
            (TokenExpired(), 109),
            (TokenRevoked(), 109),
            (KeysUnavailable("down"), 100),
            (RevocationsUnavailable("stale"), 100),
            (BrokerUnavailable(), 100),
        ],
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


class TestTurns:
    """Many commands at once: nobody else has to wait for all of them."""

    @staticmethod
    def _open(gateway: Gateway, alice: Credentials) -> tuple[Peer, list[int]]:
        """Connect to a gateway that takes a long time to publish."""
        published: list[int] = []
        take = gateway.broker.publish

        async def take_long(
            channel: str, publication: Publication, options: PublishOptions = PLAIN
        ) -> Published:
            gateway.loop.now += 0.1
            published.append(json.loads(bytes(publication.data)))
            return await take(channel, publication, options)

        gateway.broker.publish = take_long  # type: ignore[method-assign]
        return gateway.open(alice), published

    async def test_long_message_is_worked_on_in_turns(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """In between, the others have theirs, and what was answered is written."""
        peer, published = self._open(gateway, alice)
        await peer.ask(CONNECT)

        peer.send(*(publish("news", number, number) for number in (2, 3, 4)))

        assert published == [2]
        assert [reply["id"] for reply in await peer.receive()] == [2, 3, 4]
        assert published == [2, 3, 4]

    async def test_many_messages_of_one_read_are_too(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """What came in one piece has one turn together, in whatever messages."""
        peer, published = self._open(gateway, alice)
        await peer.ask(CONNECT)

        for number in (2, 3, 4):
            peer.send(publish("news", number, number))

        assert published == [2]
        assert [reply["id"] for reply in await peer.receive()] == [2, 3, 4]

    async def test_who_reads_nothing_is_cut_between_the_turns(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """And the rest of the message is left undone."""
        peer, published = self._open(gateway, alice)
        await peer.ask(CONNECT)
        peer.connection.stalled()
        peer.transport.unread = 20_000

        peer.send(*(publish("news", number, number) for number in range(2, 20)))
        await settle()

        assert peer.transport.aborted
        assert published == [2]


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


def payloads(replies: list[Any]) -> list[Any]:
    """Return the data of publications, and the channel and code of ends."""
    pushes = [reply["push"] for reply in replies if "push" in reply]
    return [
        push["pub"]["data"] if "pub" in push else (push["channel"], push["unsubscribe"]["code"])
        for push in pushes
    ]


DROPPING = """
[namespaces.drop]
slow_reader = "drop"
allow_subscribe_for_client = true
allow_publish_for_client = true
history_size = 10
history_ttl = "60s"
force_recovery = true

[namespaces.keep]
allow_subscribe_for_client = true
allow_publish_for_client = true
"""


@pytest.fixture
async def dropping(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway in some of whose channels slow readers may lose publications."""
    return make_gateway(channels=DROPPING)


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
        assert gateway.node.metrics.queues_dropped == {"bytes": 1}
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
        assert gateway.node.metrics.queues_dropped == {"stall": 1}

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

    async def test_peer_that_may_lose_publications_is_told_of_the_gap(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """2500 for that channel, behind what it was sent before; it recovers all it missed."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        (reply,) = await slow.ask(subscribe("drop:a"))
        await slow.ask(subscribe("drop:silent"))
        await other.ask(subscribe("drop:a"))
        slow.connection.stalled()
        slow.transport.unread = 10_001

        got = []
        for number in range(4):
            await other.ask(publish("drop:a", number))
            got += payloads(await slow.receive())
        slow.transport.unread = 0
        slow.connection.drained()
        epoch = reply["subscribe"]["epoch"]
        (back,) = await slow.ask(resume("drop:a", 1, epoch))
        await other.ask(publish("drop:a", 4), publish("drop:silent", 5))

        assert got == [0, ("drop:a", 2500)]
        assert back["subscribe"]["recovered"] is True
        assert [one["data"] for one in back["subscribe"]["publications"]] == [1, 2, 3]
        assert payloads(await slow.receive()) == [4, 5]
        assert dropping.node.metrics.disconnects == {}
        registry = dropping.node.metrics.registry
        assert registry.get_sample_value("gateway_subscriptions_dropped_total") == 1

    async def test_what_it_may_not_lose_still_ends_it(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Once more the same bytes, and no further."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        for peer in (slow, other):
            await peer.ask(subscribe("drop:a"), subscribe("keep:a"))
        slow.connection.stalled()
        aborted = []
        for unread in (10_001, 20_001, 20_002):
            slow.transport.unread = unread
            await other.ask(publish("keep:a", 1))
            aborted.append(slow.transport.aborted)

        assert aborted == [False, False, True]
        assert dropping.node.metrics.queues_dropped == {"bytes": 1}

    async def test_nor_does_it_get_more_than_the_same_seconds_again(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """One that is dead is cut although nothing more is sent to it."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        for peer in (slow, other):
            await peer.ask(subscribe("drop:a"))
        slow.connection.stalled()
        await dropping.advance(4)
        slow.transport.unread = 10_001
        aborted = []
        for seconds in (4.9, 0.3):
            await other.ask(publish("drop:a", 1))
            await dropping.advance(seconds)
            aborted.append(slow.transport.aborted)

        assert aborted == [False, True]
        assert dropping.node.metrics.queues_dropped == {"stall": 1}

    async def test_one_that_subscribes_again_unread_is_cut(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Else it could have the gateway keep any number of bytes for it."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        await other.ask(subscribe("drop:a"))
        await slow.ask(subscribe("drop:a"))
        slow.connection.stalled()
        slow.transport.unread = 10_001
        await other.ask(publish("drop:a", 1), publish("drop:a", 2))
        slow.send(subscribe("drop:a"))
        slow.transport.unread = 20_002

        await other.ask(publish("drop:a", 3))

        assert slow.transport.aborted

    async def test_one_stuck_reader_changes_nothing_for_the_others(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Each publication is one write to each of them, in the turn in which it came."""
        writes = []
        for stuck in (False, True):
            others = [await dropping.connect(bob) for _ in range(5)]
            slow = await dropping.connect(alice)
            for peer in (slow, *others):
                await peer.ask(subscribe("drop:a"), subscribe("keep:a"))
                peer.transport.writes.clear()
            if stuck:
                slow.connection.stalled()
                slow.transport.unread = 10_001
            for channel in ("drop:a", "keep:a", "drop:a", "keep:a"):
                dropping.publish(channel, 1)
                await asyncio.sleep(0)
                writes.append([len(peer.transport.writes) for peer in others])
            for peer in (slow, *others):
                peer.connection.lost(1006)

        assert writes == [[count] * 5 for count in (1, 2, 3, 4)] * 2


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


OPEN = """
[client]
allow_anonymous_connect = true

[without_namespace]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_subscriber = true
allow_publish_for_anonymous = true

[namespaces.users]
allow_subscribe_for_client = true
"""


class TestGuests:
    """``allow_anonymous_connect``: whoever has no token is the user ``""``."""

    async def test_connect_without_a_token_is_a_guests(self, make_gateway: MakeGateway) -> None:
        """It has no end, no personal channel, and what the file gives to guests."""
        peer = make_gateway(channels=OPEN).open()

        (connected,) = await peer.ask(CONNECT)
        assert "error" not in connected
        assert not {"expires", "ttl", "subs"} & connected["connect"].keys()
        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]
        assert await peer.ask(subscribe("users:1")) == [error(103, "permission denied", 2)]
        pushed, _ = await peer.ask(publish("news", 1))

        assert pushed["push"]["pub"]["info"] == {"user": "", "client": peer.connection.client}

    async def test_where_they_are_not_allowed_it_is_109(self, gateway: Gateway) -> None:
        """An SDK fetches a token then."""
        peer = gateway.open()

        assert await peer.ask(CONNECT) == [error(109, "token expired", 1)]

    async def test_bad_cookie_is_never_a_guests(self, make_gateway: MakeGateway) -> None:
        """Somebody's log-in has ended: a page refreshes it on 109."""
        peer = make_gateway(channels=OPEN).open(guest_allowed=False)

        assert await peer.ask(CONNECT) == [error(109, "token expired", 1)]

    async def test_bad_token_is_no_guests_either(self, make_gateway: MakeGateway) -> None:
        """Nobody becomes a guest by mistake."""
        peer = make_gateway(channels=OPEN).open()

        assert await peer.ask({"id": 1, "connect": {"token": "bad"}}) == []
        assert peer.closed == 3500

    async def test_guest_stays_among_the_unauthenticated(self, make_gateway: MakeGateway) -> None:
        """Their number is limited as long as they are there."""
        released: list[bool] = []
        gateway = make_gateway(channels=OPEN)
        peer = gateway.open(authenticated=lambda: released.append(True))

        await peer.ask(CONNECT)
        assert released == []
        peer.connection.lost(1001)

        assert released == [True]

    @pytest.mark.parametrize(("channels", "code"), [(OPEN, None), ("", 3507)])
    async def test_token_without_a_user_is_a_guests(
        self,
        make_gateway: MakeGateway,
        make_credentials: MakeCredentials,
        channels: str,
        code: int | None,
    ) -> None:
        """Section 5: 3507 where guests are not allowed."""
        gateway = make_gateway(channels=channels)
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = make_credentials("")
        peer = gateway.open()

        await peer.ask(CONNECT_BY_TOKEN)

        assert peer.closed == code


class TestInsecure:
    """``GATEWAY_INSECURE``."""

    async def test_no_token_is_needed_and_no_permission_asked_for(
        self, make_gateway: MakeGateway
    ) -> None:
        """As the JavaScript SDK's suite needs it."""
        peer = make_gateway(channels="", insecure=True).open()

        assert "connect" in (await peer.ask(CONNECT))[0]
        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]
        assert {"id": 3, "publish": {}} in await peer.ask(publish("news", 1))

    async def test_token_is_verified_but_never_expires(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Section 5, step 3."""
        gateway = make_gateway(insecure=True)
        peer = await by_token(gateway, alice)
        bad = gateway.open()

        await bad.ask({"id": 1, "connect": {"token": "bad"}})

        assert bad.closed == 3500
        assert not peer.connection.session.expires_with_grace


class TestTokenOfTheSecret:
    """What only Centrifugo's own profile can say of a connection."""

    @staticmethod
    def make(make_credentials: MakeCredentials, **claims: Any) -> Credentials:  # noqa: ANN401
        """Return what such a token says."""
        values: dict[str, Any] = {"issuer": "", "scopes": frozenset(), "expires_at": inf}
        return make_credentials(**values | claims)

    async def test_token_without_an_end(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """No ``expires``; it may be refreshed by one that has an end."""
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = self.make(make_credentials)
        gateway.tokens.known["new"] = self.make(make_credentials, expires_at=WALL_TIME + 9)
        peer = gateway.open()

        (connected,) = await peer.ask(CONNECT_BY_TOKEN)
        (kept,) = await peer.ask({"id": 2, "refresh": {"token": "good"}})
        (ends,) = await peer.ask({"id": 3, "refresh": {"token": "new"}})

        assert not {"expires", "ttl"} & connected["connect"].keys()
        assert not {"expires", "ttl"} & kept["refresh"].keys()
        assert (ends["refresh"]["expires"], ends["refresh"]["ttl"]) == (True, 9)

    async def test_far_end_is_told_as_a_year(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """No SDK's timer holds more."""
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = self.make(make_credentials, expires_at=WALL_TIME + 1e9)

        (reply,) = await gateway.open().ask(CONNECT_BY_TOKEN)

        assert reply["connect"]["ttl"] == 365 * 86_400

    async def test_connection_whose_end_has_passed_is_110(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Section 5, step 5: the token is good, and ``expire_at`` over."""
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = self.make(make_credentials, expires_at=WALL_TIME - 1)
        gateway.tokens.known["ok"] = self.make(make_credentials)
        peer, other = gateway.open(), gateway.open()

        assert await peer.ask(CONNECT_BY_TOKEN) == [error(110, "expired", 1)]
        await other.ask({"id": 1, "connect": {"token": "ok"}})
        await other.ask({"id": 2, "refresh": {"token": "good"}})

        assert other.closed == 3005

    async def test_subscriptions_of_the_token_have_their_info_and_data(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Claims ``channels`` and ``subs``; private channels too, and they may be published to."""
        gateway.tokens.required = ""
        credentials = self.make(
            make_credentials,
            channels=("room:1", "$room:2"),
            subs=(("$room:2", SubscriptionGrant(info=b'"chan"', data=b"[1]")),),
        )
        gateway.tokens.known["good"] = credentials
        peer = gateway.open()

        (reply,) = await peer.ask(CONNECT_BY_TOKEN)
        pushed, _ = await peer.ask(publish("$room:2", 1))

        assert reply["connect"]["subs"] == {
            "room:1": {},
            "$room:2": {"data": [1]},
            "dm:#alice": {},
        }
        assert pushed["push"]["pub"]["info"]["chan_info"] == "chan"

    @pytest.mark.parametrize(
        ("before", "after", "code"),
        [
            (("room:1",), ("room:1",), None),
            (("room:1", "room:2"), ("room:2", "room:1"), None),
            ((), ("room:1",), 3010),
            (("room:1",), (), 3010),
        ],
    )
    async def test_refresh_that_changes_the_channels_is_3010(
        self,
        gateway: Gateway,
        make_credentials: MakeCredentials,
        before: tuple[str, ...],
        after: tuple[str, ...],
        code: int | None,
    ) -> None:
        """Section 11: a new connection has the new ones."""
        peer = await by_token(gateway, make_credentials(channels=before))
        gateway.tokens.known["new"] = make_credentials(channels=after)

        await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert peer.closed == code

    async def test_servers_subscription_that_ends_is_3006(
        self, make_gateway: MakeGateway, make_credentials: MakeCredentials
    ) -> None:
        """25 s after its end."""
        grant = SubscriptionGrant(expires_at=WALL_TIME + 10)
        credentials = make_credentials(channels=("room:1",), subs=(("room:1", grant),))
        gateway = make_gateway(ping_interval=1000)
        peer = gateway.open(credentials)

        (reply,) = await peer.ask(CONNECT)
        await gateway.advance(34.5)
        assert peer.closed is None
        await gateway.advance(1)

        assert reply["connect"]["subs"]["room:1"] == {"expires": True, "ttl": 10}
        assert peer.transport.closed == (3006, "subscription expired")


PRIVATE = "$room:1"


class TestSubscriptionTokens:
    """Sections 7.1 and 11."""

    @staticmethod
    def token(**claims: object) -> str:
        """Sign a token for alice and a private channel, with these claims changed."""
        return sign({"sub": "alice", "channel": PRIVATE} | claims)

    @pytest.fixture
    async def gateway(self, make_gateway: MakeGateway, fake_loop: FakeLoop) -> Gateway:
        """A gateway that knows the secret, and does not ping meanwhile."""
        tokens = SubscriptionTokens(SECRET, now=lambda: WALL_TIME + fake_loop.now - 1000)
        return make_gateway(node_options={"subscription_tokens": tokens}, ping_interval=1000)

    @staticmethod
    async def subscribe(
        gateway: Gateway, credentials: Credentials, token: str, channel: str = PRIVATE
    ) -> tuple[Peer, list[Any]]:
        """Connect and subscribe."""
        peer = await gateway.connect(credentials)
        command = {"id": 2, "subscribe": {"channel": channel, "token": token}}
        return peer, await peer.ask(command)

    async def test_token_opens_a_private_channel(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Data is for the client, info for the others, and without an end there is no ttl."""
        peer, replies = await self.subscribe(
            gateway, alice, self.token(info={"a": 1}, data={"b": 2})
        )
        pushed, _ = await peer.ask(publish(PRIVATE, 1))

        assert replies == [{"id": 2, "subscribe": {"data": {"b": 2}}}]
        assert pushed["push"]["pub"]["info"]["chan_info"] == {"a": 1}

    @pytest.mark.parametrize(
        ("claims", "code", "message"),
        [
            ({"exp": WALL_TIME}, 109, "token expired"),
            ({"exp": "soon"}, 103, "permission denied"),
            ({"expire_at": WALL_TIME - 1}, 110, "expired"),
        ],
    )
    async def test_token_that_is_not_good_is_an_error(
        self,
        gateway: Gateway,
        alice: Credentials,
        claims: dict[str, object],
        code: int,
        message: str,
    ) -> None:
        """The connection goes on."""
        peer, replies = await self.subscribe(gateway, alice, self.token(**claims))

        assert replies == [error(code, message, 2)]
        assert peer.closed is None
        assert gateway.broker.requests == [("subscribe", "dm:#alice")]

    @pytest.mark.parametrize("token", ["invalid", "a.b.c"])
    async def test_text_that_is_no_token_is_103(
        self, gateway: Gateway, alice: Credentials, token: str
    ) -> None:
        """And not the end of the connection."""
        _, replies = await self.subscribe(gateway, alice, token)

        assert replies == [error(103, "permission denied", 2)]

    @pytest.mark.parametrize(
        "claims", [{"sub": "bob"}, {"sub": ""}, {"channel": "$room:2"}, {"client": "another"}]
    )
    async def test_token_of_another_is_3500(
        self, gateway: Gateway, alice: Credentials, claims: dict[str, object]
    ) -> None:
        """User, channel or connection: section 7.1, step 3."""
        peer, replies = await self.subscribe(gateway, alice, self.token(**claims))

        assert replies == []
        assert peer.closed == 3500

    async def test_name_is_judged_before_the_token(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 7.1, steps 2 and 3."""
        token = self.token(channel="nowhere:1")

        _, replies = await self.subscribe(gateway, alice, token, "nowhere:1")

        assert replies == [error(102, "unknown channel", 2)]

    async def test_without_a_secret_it_is_103(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """None can be good."""
        _, replies = await self.subscribe(make_gateway(), alice, self.token())

        assert replies == [error(103, "permission denied", 2)]

    async def test_subscription_ends_with_its_token(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """2501 after the grace; an SDK subscribes anew with another token."""
        peer, replies = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))
        assert replies == [{"id": 2, "subscribe": {"expires": True, "ttl": 4}}]

        await gateway.advance(28.5)
        assert await peer.receive() == []
        await gateway.advance(1)

        end = {"code": 2501, "reason": "subscription expired"}
        assert await peer.receive() == [{"push": {"channel": PRIVATE, "unsubscribe": end}}]
        assert PRIVATE not in gateway.node.hub
        assert gateway.broker.requests[-1] == ("unsubscribe", PRIVATE)
        again = self.token(exp=WALL_TIME + 100)
        (reply,) = await peer.ask({"id": 3, "subscribe": {"channel": PRIVATE, "token": again}})
        assert reply["subscribe"]["expires"]

    @pytest.mark.parametrize("channel", [PRIVATE, ""])
    async def test_refresh_moves_the_end(
        self, gateway: Gateway, alice: Credentials, channel: str
    ) -> None:
        """Info stays; old Python SDKs leave the channel out, and the token names it."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4, info={"a": 1}))
        request = {"channel": channel, "token": self.token(exp=WALL_TIME + 60)}

        (reply,) = await peer.ask({"id": 3, "sub_refresh": request})
        await gateway.advance(84)

        assert reply == {"id": 3, "sub_refresh": {"expires": True, "ttl": 60}}
        assert peer.connection.session.channels.keys() == {"dm:#alice", PRIVATE}
        grant = peer.connection.session.grant(PRIVATE)
        assert grant is not None
        assert grant.info == b'{"a":1}'

    async def test_refresh_may_take_the_end_away(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A token without one."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))

        (reply,) = await peer.ask(
            {"id": 3, "sub_refresh": {"channel": PRIVATE, "token": self.token()}}
        )

        assert reply == {"id": 3, "sub_refresh": {}}

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"exp": WALL_TIME}, 3006),
            ({"expire_at": WALL_TIME - 1}, 3006),
            ({"sub": "bob"}, 3500),
            ({"channel": "$room:2"}, 3500),
            ({"exp": "soon"}, 3500),
        ],
    )
    async def test_refresh_with_a_bad_token_ends_the_connection(
        self, gateway: Gateway, alice: Credentials, claims: dict[str, object], code: int
    ) -> None:
        """Section 11; an expired one is not accepted."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))
        request = {"channel": PRIVATE, "token": self.token(**claims)}

        assert await peer.ask({"id": 3, "sub_refresh": request}) == []
        assert peer.closed == code

    async def test_refresh_of_what_is_not_subscribed_is_103(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Also where only the token names it."""
        peer = await gateway.connect(alice)

        for channel in (PRIVATE, ""):
            request = {"channel": channel, "token": self.token()}
            assert await peer.ask({"id": 3, "sub_refresh": request}) == [
                error(103, "permission denied", 3)
            ]

    async def test_nothing_is_kept_of_what_was_left(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A new subscription without a token begins with nothing."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))

        await peer.ask({"id": 3, "unsubscribe": {"channel": PRIVATE}})

        assert peer.connection.session.grant(PRIVATE) is None
        await gateway.advance(15)
        assert peer.closed is None


class TestOperatorsWord:
    """Hooks for connect, subscribe, publish and disconnect."""

    async def test_connect_hook_adds_info_data_and_channels(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """It is asked once, after the token."""
        hooks = Hooks()

        @hooks.connect
        async def connect(caller: Caller, data: object) -> ConnectAnswer:
            return ConnectAnswer(
                info={"seen": caller.info}, data={"echo": data}, channels=("room:1",)
            )

        peer = make_gateway(hooks=hooks).open(alice)

        replies = await peer.ask({"id": 1, "connect": {"data": [1]}})
        pushed, _ = await peer.ask(publish("room:1", 7))

        assert replies[0]["connect"]["data"] == {"echo": [1]}
        assert set(replies[0]["connect"]["subs"]) == {"room:1", "dm:#alice"}
        assert pushed["push"]["pub"]["info"]["conn_info"] == {"seen": {"name": "Alice"}}

    async def test_its_info_outlives_a_refresh(
        self, make_gateway: MakeGateway, make_credentials: MakeCredentials
    ) -> None:
        """The new token's is not shown suddenly; its channels are compared with the old token's."""
        hooks = Hooks()

        @hooks.connect
        async def connect(_caller: Caller, _data: object) -> ConnectAnswer:
            return ConnectAnswer(info="mine", channels=("room:1",))

        gateway = make_gateway(hooks=hooks)
        peer = await by_token(gateway, make_credentials())
        gateway.tokens.known["new"] = make_credentials(info=b'"theirs"')

        (reply,) = await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert "refresh" in reply
        assert peer.connection.session.credentials is not None
        assert peer.connection.session.credentials.info == b'"mine"'

    @pytest.mark.parametrize(
        ("refusal", "reply", "code"),
        [
            (ReplyError(1001, "not today"), [error(1001, "not today", 1)], None),
            (Disconnect(4501, reason="banned"), [], 4501),
        ],
    )
    async def test_connect_hook_may_refuse(
        self,
        make_gateway: MakeGateway,
        alice: Credentials,
        refusal: Exception,
        reply: list[Any],
        code: int | None,
    ) -> None:
        """By an error or the end; nothing was subscribed, and no disconnect is told."""
        hooks, gone = Hooks(), list[int]()
        hooks.disconnect(lambda _caller, code: gone.append(code))

        @hooks.connect
        async def connect(_caller: Caller, _data: object) -> None:
            raise refusal

        gateway = make_gateway(hooks=hooks)
        peer = gateway.open(alice)

        assert await peer.ask(CONNECT) == reply
        assert peer.closed == code
        peer.connection.lost(1001)
        await hooks.finish()
        assert gateway.broker.requests == []
        assert gone == []

    @pytest.mark.parametrize(
        ("refusal", "closed"),
        [
            (ReplyError(1001, "not today"), (3507, "permission denied")),
            (RuntimeError("database"), (3004, "internal server error")),
            (Disconnect(4501, reason="banned"), (4501, "banned")),
        ],
    )
    async def test_bare_connection_is_asked_about_too(
        self,
        make_gateway: MakeGateway,
        alice: Credentials,
        refusal: Exception,
        closed: tuple[int, str],
    ) -> None:
        """Leaving ``connect`` out is no way around; a command beside it is not performed."""
        hooks = Hooks()

        @hooks.connect
        async def connect(_caller: Caller, _data: object) -> None:
            raise refusal

        gateway = make_gateway(hooks=hooks)
        peer = gateway.open(alice)

        assert await peer.ask(subscribe("news")) == []
        assert peer.transport.closed == closed
        assert gateway.broker.requests == []

    async def test_subscribe_hook_may_refuse_and_add(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """It is asked about what the channels file allows, and about nothing else."""
        hooks, asked = Hooks(), list[str]()

        @hooks.subscribe
        async def check(_caller: Caller, channel: str, data: Any) -> SubscribeAnswer:  # noqa: ANN401
            asked.append(channel)
            if channel == "closed":
                raise ReplyError(1001, "closed")
            return SubscribeAnswer(info={"role": "x"}, data=data)

        peer = await make_gateway(hooks=hooks).connect(alice)

        replies = await peer.ask(
            {"id": 2, "subscribe": {"channel": "room:1", "data": [1]}},
            subscribe("closed", 3),
            subscribe("staff:1", 4),
        )
        pushed, _ = await peer.ask(publish("room:1", 7))

        assert replies == [
            {"id": 2, "subscribe": {"data": [1]}},
            error(1001, "closed", 3),
            error(103, "permission denied", 4),
        ]
        assert asked == ["room:1", "closed"]
        assert pushed["push"]["pub"]["info"]["chan_info"] == {"role": "x"}

    async def test_publish_hook_may_refuse_and_transform(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """What others receive is what it returned."""
        hooks = Hooks()

        @hooks.publish
        async def check(_caller: Caller, _channel: str, data: Any) -> PublishAnswer | None:  # noqa: ANN401
            if data == "spam":
                raise ReplyError(1002, "spam")
            return PublishAnswer({"shout": data.upper()}) if data != "as it is" else None

        peer = await make_gateway(hooks=hooks).connect(alice)
        await peer.ask(subscribe("news"))

        replies = await peer.ask(
            publish("news", "hello", 3), publish("news", "spam", 4), publish("news", "as it is", 5)
        )

        assert [reply["push"]["pub"]["data"] for reply in replies if "push" in reply] == [
            {"shout": "HELLO"},
            "as it is",
        ]
        assert error(1002, "spam", 4) in replies

    async def test_commands_stay_in_their_order_while_a_hook_takes_its_time(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """And no other connection waits."""
        hooks, gate = Hooks(), asyncio.Event()

        @hooks.publish
        async def check(_caller: Caller, _channel: str, data: object) -> None:
            if data == "slow":
                await gate.wait()

        gateway = make_gateway(hooks=hooks)
        slow, quick = await gateway.connect(alice), await gateway.connect(bob)
        await quick.ask(subscribe("news"))

        assert await slow.ask(publish("news", "slow", 3), publish("news", "next", 4)) == []
        assert len(await quick.ask(publish("news", "quick", 3))) == 2
        gate.set()

        assert [reply["id"] for reply in await slow.receive()] == [3, 4]
        received = [reply["push"]["pub"]["data"] for reply in await quick.receive()]
        assert received == ["slow", "next"]

    async def test_disconnect_hook_is_told_once_of_whoever_was_admitted(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """With the close code; not of one that never connected."""
        hooks, gone = Hooks(), list[tuple[str, int]]()

        @hooks.disconnect
        async def disconnect(caller: Caller, code: int) -> None:
            gone.append((caller.user, code))

        gateway = make_gateway(hooks=hooks)
        first, bare = await gateway.connect(alice), gateway.open(bob)
        await bare.ask(subscribe("news"))
        gateway.open().connection.lost(1006)

        first.connection.disconnect(DisconnectCode.FORCE_DISCONNECT)
        first.connection.lost(1006)
        bare.connection.lost(1001)
        await hooks.finish()

        assert sorted(gone) == [("alice", 3503), ("bob", 1001)]


class TestPace:
    """Error 111, then 3013 (design: codes)."""

    async def test_too_fast_is_111_and_then_the_end(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Refused commands are not performed; time alone sets free again."""
        gateway = make_gateway(node_options={"command_rate": Rate(per_second=1, burst=3)})
        peer = await gateway.connect(alice)

        replies = await peer.ask(*(publish("news", number, number + 2) for number in range(4)))
        assert replies[:2] == [{"id": 2, "publish": {}}, {"id": 3, "publish": {}}]
        too_many = [error(111, "too many requests", number, temporary=True) for number in (4, 5)]
        assert replies[2:] == too_many
        assert gateway.broker.requests.count(("publish", "news")) == 2
        await gateway.advance(5)
        assert await peer.ask(publish("news", 1, 6)) == [{"id": 6, "publish": {}}]

        await peer.ask(*(publish("news", number, number + 7) for number in range(10)))

        assert peer.transport.closed == (3013, "too many requests")

    async def test_users_connections_share_a_pace(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Another user's is his own; and nothing is kept of who has gone."""
        gateway = make_gateway(node_options={"user_command_rate": Rate(per_second=1, burst=2)})
        one, two = await gateway.connect(alice), await gateway.connect(alice)
        other = await gateway.connect(bob)

        await one.ask(publish("news", 1), publish("news", 2))
        (refused,) = await two.ask(publish("news", 3))
        (good,) = await other.ask(publish("news", 4))

        assert refused["error"]["code"] == 111
        assert "publish" in good
        for peer in (one, two, other):
            peer.connection.lost(1001)
        assert len(gateway.node.paces) == 0


STREAMS = """
[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
history_size = 4
history_ttl = "60s"
force_recovery = true

[namespaces.optional]
allow_subscribe_for_client = true
allow_publish_for_client = true
history_size = 4
history_ttl = "60s"
allow_recovery = true
allow_positioning = true

[namespaces.cache]
allow_subscribe_for_client = true
allow_publish_for_client = true
history_size = 1
history_ttl = "60s"
force_recovery = true
force_recovery_mode = "cache"
auto_cache_recover = true

[namespaces.own]
allow_publish_for_client = true
history_size = 4
history_ttl = "60s"
force_recovery = true
"""


@pytest.fixture
async def streams(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway whose channels have history."""
    return make_gateway(channels=STREAMS)


def resume(channel: str, offset: int, epoch: str, **more: object) -> dict[str, Any]:
    """Return a command that subscribes where it broke off."""
    request = {"channel": channel, "recover": True, "offset": offset, "epoch": epoch, **more}
    return {"id": 2, "subscribe": request}


class TestStreams:
    """Positions, recovery and history as a client sees them (protocol sections 7, 8 and 11)."""

    async def test_subscribe_reply_has_the_position(
        self, streams: Gateway, alice: Credentials
    ) -> None:
        """And publications their place."""
        peer = await streams.connect(alice)

        (reply,) = await peer.ask(subscribe("news"))
        pushes = await peer.ask(publish("news", 1), publish("news", 2))

        epoch = reply["subscribe"].pop("epoch")
        assert epoch
        assert reply == {"id": 2, "subscribe": {"recoverable": True, "positioned": True}}
        publications = [push["push"]["pub"] for push in pushes if "push" in push]
        assert [found["offset"] for found in publications] == [1, 2]
        assert [found.get("epoch") for found in publications] == [epoch, None]

    @pytest.mark.parametrize(
        ("wishes", "granted"),
        [
            ({}, {}),
            ({"positioned": True}, {"positioned": True}),
            ({"recoverable": True}, {"positioned": True, "recoverable": True}),
        ],
    )
    async def test_positions_may_be_a_wish(
        self,
        streams: Gateway,
        alice: Credentials,
        wishes: dict[str, bool],
        granted: dict[str, bool],
    ) -> None:
        """Without one the reply is empty."""
        peer = await streams.connect(alice)

        command = {"id": 2, "subscribe": {"channel": "optional:a", **wishes}}
        (reply,) = await peer.ask(command)

        reply["subscribe"].pop("epoch", None)
        assert reply["subscribe"] == granted

    async def test_missed_publications_are_in_the_reply(
        self, streams: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """With the requested offset; what follows comes after it."""
        peer, other = await streams.connect(alice), await streams.connect(bob)
        (reply,) = await peer.ask(subscribe("news"))
        epoch = reply["subscribe"]["epoch"]
        await peer.ask({"id": 3, "unsubscribe": {"channel": "news"}})
        await other.ask(publish("news", 1), publish("news", 2))

        (resumed,) = await peer.ask(resume("news", 0, epoch))
        await other.ask(publish("news", 3))
        (push,) = await peer.receive()

        result = resumed["subscribe"]
        assert (result["recovered"], result["was_recovering"]) == (True, True)
        assert "offset" not in result  # which was 0
        assert [found["data"] for found in result["publications"]] == [1, 2]
        assert [found["offset"] for found in result["publications"]] == [1, 2]
        assert push["push"]["pub"]["offset"] == 3

    async def test_unrecoverable_position_is_told_or_refused(
        self, streams: Gateway, alice: Credentials
    ) -> None:
        """Bit 2 of the flag; then there is no subscription either."""
        peer = await streams.connect(alice)
        await peer.ask(*(publish("news", number) for number in range(9)))

        (refused,) = await peer.ask(resume("news", 1, "", flag=3))
        held = dict(peer.connection.session.channels)
        (told,) = await peer.ask(resume("news", 1, "", flag=1))

        assert refused == error(112, "unrecoverable position", 2)
        assert held == {}
        assert told["subscribe"]["was_recovering"]
        assert "recovered" not in told["subscribe"]
        assert told["subscribe"]["offset"] == 9

    async def test_cache_begins_with_the_latest(self, streams: Gateway, alice: Credentials) -> None:
        """Protocol section 8.3."""
        peer = await streams.connect(alice)
        await peer.ask(publish("cache:a", 1), publish("cache:a", 2))

        (reply,) = await peer.ask(subscribe("cache:a"))

        result = reply["subscribe"]
        assert [found["data"] for found in result["publications"]] == [2]
        assert result["recovered"]

    async def test_gap_that_cannot_be_filled_ends_the_subscription(
        self, streams: Gateway, alice: Credentials
    ) -> None:
        """2500: the client subscribes again, and is told."""
        peer = await streams.connect(alice)
        await peer.ask(subscribe("news"))

        link = Link("another", 0, 0)
        streams.node.on_publication("news", Publication(data=raw(1), offset=7), link)
        (push,) = await peer.receive()
        (again,) = await peer.ask(subscribe("news"))

        assert push == {
            "push": {
                "channel": "news",
                "unsubscribe": {"code": 2500, "reason": "insufficient state"},
            }
        }
        assert "subscribe" in again
        assert streams.node.metrics.counters["gateway_positions_lost"][1]() == 1

    async def test_subscription_without_a_position_is_not_told(
        self, streams: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """It was promised nothing."""
        plain, positioned = await streams.connect(alice), await streams.connect(bob)
        await plain.ask(subscribe("optional:a"))
        await positioned.ask({"id": 2, "subscribe": {"channel": "optional:a", "positioned": True}})

        link = Link("another", 0, 0)
        streams.node.on_publication("optional:a", Publication(data=raw(1), offset=7), link)

        assert [push["push"].keys() for push in await plain.receive()] == [{"channel", "pub"}]
        assert [push["push"].keys() for push in await positioned.receive()] == [
            {"channel", "unsubscribe"}
        ]

    async def test_server_side_subscription_resumes_with_connect(
        self, streams: Gateway, make_credentials: Callable[..., Credentials], bob: Credentials
    ) -> None:
        """From the position in ``connect.subs``."""
        credentials = make_credentials("alice", channels=("own:a",))
        peer, other = await streams.connect(credentials), await streams.connect(bob)
        peer.connection.lost(1006)
        await other.ask(publish("own:a", 1))

        back = streams.open(credentials)
        wish = {"recover": True, "offset": 0, "epoch": ""}
        (reply,) = await back.ask({"id": 1, "connect": {"subs": {"own:a": wish}}})

        result = reply["connect"]["subs"]["own:a"]
        assert result["recovered"]
        assert [found["data"] for found in result["publications"]] == [1]

    async def test_one_failing_subscription_fails_the_connect(
        self, streams: Gateway, make_credentials: Callable[..., Credentials]
    ) -> None:
        """And none of the others stays."""
        peer = streams.open(make_credentials("alice", channels=("own:a", "own:b")))
        wish = {"recover": True, "offset": 9, "epoch": "x", "flag": 2}

        (reply,) = await peer.ask({"id": 1, "connect": {"subs": {"own:b": wish}}})

        assert reply == error(112, "unrecoverable position", 1)
        assert not len(streams.node.hub)
        assert streams.broker.channels == set()

    async def test_gap_in_a_server_side_subscription_is_3010(
        self, streams: Gateway, make_credentials: Callable[..., Credentials]
    ) -> None:
        """The client comes back as a whole."""
        peer = await streams.connect(make_credentials("alice", channels=("own:a",)))

        link = Link("another", 0, 0)
        streams.node.on_publication("own:a", Publication(data=raw(1), offset=7), link)

        assert peer.closed == 3010

    @pytest.mark.parametrize("wish", [{"offset": 2**64}, {"delta": "unheard of"}])
    async def test_impossible_wishes_in_connect_are_3501(
        self, streams: Gateway, alice: Credentials, wish: dict[str, object]
    ) -> None:
        """As they are in subscribe."""
        peer = streams.open(alice)

        await peer.ask({"id": 1, "connect": {"subs": {"own:a": wish}}})

        assert peer.closed == 3501

    async def test_broker_away_is_100(self, streams: Gateway, alice: Credentials) -> None:
        """For what needs the history; nothing is left of it."""
        peer = await streams.connect(alice)
        await peer.ask(subscribe("subscribed"))
        streams.broker.down = BrokerUnavailable()

        replies = await peer.ask(
            subscribe("news"),
            {"id": 3, "history": {"channel": "subscribed"}},
            publish("subscribed", 1, 4),
        )

        assert [reply["error"]["code"] for reply in replies] == [100, 100, 100]
        assert "news" not in streams.node.hub

    async def test_client_that_leaves_while_history_is_read_leaves_nothing(
        self, streams: Gateway, alice: Credentials
    ) -> None:
        """The fixture looks."""
        peer = await streams.connect(alice)
        await streams.broker.subscribe("news")
        streams.broker.held = True
        peer.send(subscribe("news"))
        await settle()

        peer.connection.lost(1006)
        streams.broker.release()
        await settle()

        assert not len(streams.node.streams)

    @pytest.mark.parametrize(
        ("request_", "offsets"),
        [
            ({}, []),
            ({"limit": 2}, [6, 7]),
            ({"limit": -1}, [6, 7, 8, 9]),
            ({"limit": 2_000_000}, [6, 7, 8, 9]),
            ({"limit": -1, "since": {"offset": 7}}, [8, 9]),
            ({"limit": 2, "reverse": True}, [9, 8]),
            ({"limit": 2, "reverse": True, "since": {"offset": 8}}, [7, 6]),
        ],
    )
    async def test_history(
        self,
        streams: Gateway,
        alice: Credentials,
        request_: dict[str, object],
        offsets: list[int],
    ) -> None:
        """Always with the position; publications, epoch and offset are always written."""
        peer = await streams.connect(alice)
        (reply,) = await peer.ask(subscribe("news"))
        for number in range(9):
            await peer.ask(publish("news", number))

        (answer,) = await peer.ask({"id": 4, "history": {"channel": "news", **request_}})

        history = answer["history"]
        assert (history["offset"], history["epoch"]) == (9, reply["subscribe"]["epoch"])
        assert [found["offset"] for found in history["publications"]] == offsets
        assert all(found["info"]["user"] == "alice" for found in history["publications"])

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            ({"channel": "news"}, 103),
            ({"channel": "nowhere:1"}, 102),
            ({"channel": "read", "since": {"offset": 1, "epoch": "other"}}, 112),
            ({"channel": "read", "reverse": True, "since": {"offset": 0}}, 107),
        ],
    )
    async def test_history_that_cannot_be_had(
        self, streams: Gateway, alice: Credentials, request_: dict[str, object], code: int
    ) -> None:
        """Not subscribed, no such namespace, another epoch, before the first."""
        peer = await streams.connect(alice)
        await peer.ask(subscribe("read"))

        (reply,) = await peer.ask({"id": 4, "history": request_})

        assert reply["error"]["code"] == code

    async def test_empty_history_is_written(self, streams: Gateway, alice: Credentials) -> None:
        """SDKs index these keys."""
        peer = await streams.connect(alice)
        await peer.ask(subscribe("read"))

        (reply,) = await peer.ask({"id": 4, "history": {"channel": "read", "limit": 5}})

        assert reply["history"].keys() == {"publications", "epoch", "offset"}
        assert (reply["history"]["publications"], reply["history"]["offset"]) == ([], 0)


DELIVERIES = """
[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
history_size = 4
history_ttl = "60s"
allowed_delta_types = ["fossil"]
delta_publish = true
allow_tags_filter = true
allow_positioning = true
allow_recovery = true
channel_regex = "^[a-z]+$"

[namespaces.limited]
allow_user_limited_channels = true

[namespaces.closed]
"""
LONG = "the same " * 10


@pytest.fixture
async def deliveries(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway whose channels have everything of how subscriptions are told."""
    return make_gateway(channels=DELIVERIES)


class TestDeliveries:
    """Numbers, patches and filters as a client agrees on them (protocol sections 7, 9 and 10)."""

    async def test_number_stands_for_the_channel_but_in_unsubscribe_pushes(
        self, deliveries: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """It is the same for every subscriber that wants it."""
        peer, other = await deliveries.connect(alice), await deliveries.connect(bob)
        wish = {"id": 2, "subscribe": {"channel": "news", "flag": 1, "positioned": True}}
        (reply,), (again,) = await peer.ask(wish), await other.ask(wish)

        await other.ask(publish("news", 1))
        (pushed,) = await peer.receive()
        deliveries.node.on_publication(
            "news", Publication(data=raw(2), offset=9), Link(epoch="new", mark=0, previous=0)
        )
        ended, _ = await peer.receive(), await other.receive()

        number = reply["subscribe"]["id"]
        assert number == again["subscribe"]["id"] > 0
        assert (pushed["push"]["id"], pushed["push"]["pub"]["data"]) == (number, 1)
        assert "channel" not in pushed["push"]
        assert [push["push"]["channel"] for push in ended] == ["news"]
        assert ended[0]["push"]["unsubscribe"]["code"] == 2500

    async def test_number_without_a_position(self, gateway: Gateway, alice: Credentials) -> None:
        """A channel needs no history for it."""
        peer = await gateway.connect(alice)

        (reply,) = await peer.ask({"id": 2, "subscribe": {"channel": "news", "flag": 1}})

        assert reply["subscribe"].keys() == {"id"}

    async def test_patches_follow_the_first_payload(
        self, deliveries: Gateway, alice: Credentials
    ) -> None:
        """Live, and among what is recovered; history has payloads as they were published."""
        peer = await deliveries.connect(alice)
        wish = {"channel": "news", "recoverable": True, "delta": "fossil"}
        (reply,) = await peer.ask({"id": 2, "subscribe": wish})
        for number in range(3):
            await peer.ask(publish("news", LONG + str(number)))
        pushed = [push for push in await peer.ask(publish("news", LONG)) if "push" in push]
        await peer.ask({"id": 4, "unsubscribe": {"channel": "news"}})
        epoch = reply["subscribe"]["epoch"]

        back = resume("news", 2, epoch, recoverable=True, delta="fossil")
        resumed, history = await peer.ask(
            back, {"id": 5, "history": {"channel": "news", "limit": -1}}
        )

        assert reply["subscribe"]["delta"]
        assert pushed[0]["push"]["pub"]["delta"]
        first, second = resumed["subscribe"]["publications"]
        assert first["data"] == json.dumps(LONG + "2")
        assert second["delta"]
        assert [found["data"] for found in history["history"]["publications"]] == [
            *(LONG + str(number) for number in range(3)),
            LONG,
        ]

    async def test_recovered_with_nothing_begins_with_a_whole_payload(
        self, deliveries: Gateway, alice: Credentials
    ) -> None:
        """Who resumes from a position that it was told by others has no payload."""
        peer = await deliveries.connect(alice)
        await peer.ask(publish("news", LONG))

        (reply,) = await peer.ask(resume("news", 1, "", recoverable=True, delta="fossil"))
        pushed = await peer.ask(publish("news", LONG + "1"), publish("news", LONG + "2"))

        assert reply["subscribe"]["recovered"]
        assert [push["push"]["pub"].get("delta", False) for push in pushed if "push" in push] == [
            False,
            True,
        ]

    async def test_delta_without_a_position_is_not_granted(
        self, deliveries: Gateway, alice: Credentials
    ) -> None:
        """The reply says so, and payloads are what they are everywhere."""
        peer = await deliveries.connect(alice)

        (reply,) = await peer.ask({"id": 2, "subscribe": {"channel": "news", "delta": "fossil"}})
        pushed = await peer.ask(publish("news", 1))

        assert "delta" not in reply["subscribe"]
        assert [push["push"]["pub"]["data"] for push in pushed if "push" in push] == [1]

    @pytest.mark.parametrize(
        ("channel", "tf", "code"),
        [
            ("news", {}, 107),
            ("news", {"op": "and"}, 107),
            ("news", {"key": "a", "cmp": "eq"}, 107),
            ("limited:a#alice", {"key": "a", "cmp": "ex"}, 107),
            ("closed:a", {}, 103),
        ],
    )
    async def test_filter_that_cannot_be_is_107(
        self, deliveries: Gateway, alice: Credentials, channel: str, tf: object, code: int
    ) -> None:
        """No filter, or no filters there; whether the channel is allowed is asked before."""
        peer = await deliveries.connect(alice)

        (reply,) = await peer.ask({"id": 2, "subscribe": {"channel": channel, "tf": tf}})

        assert reply["error"]["code"] == code
        assert not len(deliveries.node.hub)

    async def test_filter_of_a_server_side_subscription_fails_the_connect(
        self, deliveries: Gateway, make_credentials: Callable[..., Credentials]
    ) -> None:
        """One failing subscription does."""
        peer = deliveries.open(make_credentials(channels=("closed:a",)))

        (reply,) = await peer.ask({"id": 1, "connect": {"subs": {"closed:a": {"tf": {}}}}})

        assert reply["error"]["code"] == 107

    async def test_server_side_subscription_has_patches_but_no_number(
        self, deliveries: Gateway, make_credentials: Callable[..., Credentials]
    ) -> None:
        """SDKs know it by its name."""
        peer = deliveries.open(make_credentials(channels=("news",)))
        wish = {"delta": "fossil", "flag": 1, "positioned": True}

        (reply,) = await peer.ask({"id": 1, "connect": {"subs": {"news": wish}}})
        pushed = await peer.ask(publish("news", 1))

        result = reply["connect"]["subs"]["news"]
        assert result["delta"]
        assert "id" not in result
        assert [push["push"]["channel"] for push in pushed if "push" in push] == ["news"]

    async def test_channels_that_a_client_names_in_connect(
        self, deliveries: Gateway, alice: Credentials
    ) -> None:
        """It is subscribed to those that it might subscribe to itself; section 13."""
        peer = deliveries.open(alice)
        wishes = ["news", "limited:a#alice", "limited:a#bob", "closed:a", "$news"]

        (reply,) = await peer.ask({"id": 1, "connect": {"subs": {name: {} for name in wishes}}})
        (refused,) = await peer.ask(subscribe("news"))

        assert reply["connect"]["subs"].keys() == {"news", "limited:a#alice"}
        assert refused["error"]["code"] == 105

    @pytest.mark.parametrize(
        ("names", "code"), [(["nowhere:a"], 3501), (["NEWS"], 3501), (["a", "b", "c"], 3505)]
    )
    async def test_channels_that_cannot_be_named_in_connect(
        self, make_gateway: MakeGateway, alice: Credentials, names: list[str], code: int
    ) -> None:
        """No such namespace, no such name, more than there may be."""
        peer = make_gateway(channels=DELIVERIES, max_channels=2).open(alice)

        await peer.ask({"id": 1, "connect": {"subs": {name: {} for name in names}}})

        assert peer.closed == code

    async def test_subscribe_hook_is_not_passed_by(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Where it is asked for each subscribe, none begins without."""
        hooks = Hooks()

        @hooks.subscribe
        async def refuse(_caller: Caller, _channel: str, _data: object) -> SubscribeAnswer:
            raise ReplyError(403, "no")

        peer = make_gateway(channels=DELIVERIES, hooks=hooks).open(alice)

        (reply,) = await peer.ask({"id": 1, "connect": {"subs": {"news": {}}}})

        assert "subs" not in reply["connect"]

    @pytest.mark.parametrize(("channel", "positioned"), [("news", True), ("closed:a", False)])
    async def test_token_overrides_what_the_namespace_says(
        self,
        deliveries: Gateway,
        make_credentials: Callable[..., Credentials],
        channel: str,
        positioned: bool,
    ) -> None:
        """Where there is a history; without one nothing is forced that needs it."""
        grant = SubscriptionGrant(override=(("force_positioning", True),))
        credentials = make_credentials(channels=(channel,), subs=((channel, grant),))
        peer = deliveries.open(credentials)

        (reply,) = await peer.ask(CONNECT)

        assert reply["connect"]["subs"][channel].get("positioned", False) is positioned

    async def test_recoveries_of_one_connect_share_one_message(
        self, deliveries: Gateway, make_credentials: Callable[..., Credentials]
    ) -> None:
        """What does not fit any more is told as not recovered (section 21, item 13)."""
        large = Publication(data=Raw(b'"' + b"x" * 400_000 + b'"'))
        names = ("a", "b", "c")
        for name in names:
            options = deliveries.node.publish_options(deliveries.node.channels.resolve(name))
            await deliveries.broker.publish(name, large, options)
        peer = deliveries.open(make_credentials(channels=names))
        wish = {"recoverable": True, "recover": True}

        (reply,) = await peer.ask({"id": 1, "connect": {"subs": dict.fromkeys(names, wish)}})

        results = reply["connect"]["subs"]
        assert [results[name].get("recovered", False) for name in names] == [True, True, False]
        assert results["c"]["was_recovering"]
        assert results["c"]["offset"] == 1


TestAnyConversation = AnyConversation.TestCase
TestAnyConversation.settings = settings(max_examples=40, stateful_step_count=30)
