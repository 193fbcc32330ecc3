"""The shell around a session: what is written, in which order, and that nothing is left.

Every test ends with the checks of ``Gateway.check_nothing_left``: an empty hub, no channel at the
broker, no timer, no member, no task, and nothing that the event loop had to report.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest
from hypothesis import settings

from tests.ws_gateway.any_conversation import AnyConversation
from tests.ws_gateway.commands import (
    CONNECT,
    CONNECT_BY_TOKEN,
    MakeCredentials,
    by_token,
    error,
    publish,
    subscribe,
)
from tests.ws_gateway.conftest import WALL_TIME, Gateway, settle
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    BrokerUnavailable,
    KeysUnavailable,
    RevocationsUnavailable,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
)


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
            (TokenNotYetValid("iat"), 109),
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

    def test_each_connection_has_an_id_of_its_own(self, gateway: Gateway) -> None:
        """A UUID of version 4, so that nobody can guess another's."""
        ids = [uuid.UUID(gateway.open().connection.client) for _ in range(50)]

        assert len(set(ids)) == 50
        assert {one.version for one in ids} == {4}
        assert {one.variant for one in ids} == {uuid.RFC_4122}
        assert [str(one) for one in ids] == [*gateway.node.by_client]

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


TestAnyConversation = AnyConversation.TestCase

TestAnyConversation.settings = settings(max_examples=40, stateful_step_count=30)
