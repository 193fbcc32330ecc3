"""What one process does for all its connections; how it drains is in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from tests.ws_gateway.conftest import WALL_TIME, Gateway, Peer, raw, settle
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, ReplyError
from ws_gateway.hooks import Caller, Hooks
from ws_gateway.protocol.codec import JSON, PROTOBUF, Codec
from ws_gateway.protocol.messages import Publication

MakeGateway = Callable[..., Gateway]

CHANNELS = """
[client]
allow_anonymous_connect = true

[namespaces.news]
allow_subscribe_for_client = true
join_leave = true
"""


class TestPublish:
    """Protocol section 11, and private messages."""

    async def test_broker_that_is_away_acknowledges_nothing(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Design section 3: error 100."""
        peer = await gateway.connect(alice)
        gateway.broker.down = BrokerUnavailable()

        with pytest.raises(ReplyError) as caught:
            await gateway.node.publish(peer.connection, alice, "news", raw(1), subscribed=False)

        assert caught.value.code == ErrorCode.INTERNAL

    async def test_publication_is_checked_before_it_is_published(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A refused one reaches nobody."""
        peer = await gateway.connect(alice)
        for channel, data in (("news", Raw()), ("news", Raw(b"1e999")), ("staff:1", raw(1))):
            with pytest.raises(ReplyError):
                await gateway.node.publish(peer.connection, alice, channel, data, subscribed=True)

        assert not any(kind == "publish" for kind, _ in gateway.broker.requests)

    @pytest.mark.parametrize(
        ("codec", "channel", "data", "published"),
        [
            (JSON, "news", b"{}", b"{}"),
            (PROTOBUF, "news", b'{"a":\n1}', b'{"a": 1}'),
            (PROTOBUF, "news", b"\x00", None),
            (PROTOBUF, "news", b"", None),
            (PROTOBUF, "objects:1", b"{}", b"{}"),
            (PROTOBUF, "objects:1", b"[]", None),
            (JSON, "objects:1", b"1", None),
            (PROTOBUF, "bytes:1", b"\x00\n", b"\x00\n"),
            (PROTOBUF, "bytes:1", b"", b""),
            (JSON, "bytes:1", b"1", b"1"),
            (JSON, "bytes:1", b'"\\ud800"', None),
            (JSON, "bytes:1", b"", None),
        ],
    )
    async def test_payload_is_what_the_namespace_says(
        self,
        gateway: Gateway,
        *,
        alice: Credentials,
        codec: Codec,
        channel: str,
        data: bytes,
        published: bytes | None,
    ) -> None:
        """JSON on one line, from whatever client; bytes of any kind only where it says binary."""
        sender = gateway.open(alice, codec=codec).connection
        heard: list[bytes] = []
        gateway.broker._handler = lambda _, publication, _link, _at: heard.append(
            bytes(publication.data)
        )
        await gateway.broker.subscribe(channel)

        try:
            await gateway.node.publish(sender, alice, channel, Raw(data), subscribed=False)
        except ReplyError as error:
            assert error.code == ErrorCode.BAD_REQUEST  # noqa: PT017 - one of two ways out
        gateway.broker.unsubscribe(channel)

        assert heard == ([] if published is None else [published])

    @pytest.mark.parametrize(
        ("codec", "channel", "data", "taken"),
        [
            (PROTOBUF, "news", b"hello", True),
            (PROTOBUF, "news", b"", False),
            (PROTOBUF, "objects:1", b"hello", False),
            (JSON, "news", b"hello", False),
        ],
    )
    async def test_suites_of_sdks_may_publish_plain_text(
        self,
        make_gateway: Callable[..., Gateway],
        *,
        alice: Credentials,
        codec: Codec,
        channel: str,
        data: bytes,
        taken: bool,
    ) -> None:
        """Those for Go, Java and Dart do, over Protobuf, where the namespace says no format."""
        gateway = make_gateway(insecure=True)
        sender = gateway.open(alice, codec=codec).connection

        try:
            await gateway.node.publish(sender, alice, channel, Raw(data), subscribed=False)
        except ReplyError as error:
            assert error.code == ErrorCode.BAD_REQUEST  # noqa: PT017 - one of two ways out

        assert gateway.broker.requests == ([("publish", channel)] if taken else [])

    async def test_deliveries_are_counted(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """One for each receiver; none for a channel that nobody is in."""
        for who in (alice, alice, bob):
            await gateway.connect(who)

        gateway.publish("dm:#alice", 1)
        gateway.publish("news", 1)

        assert gateway.node.metrics.messages_sent == 2

    async def test_deliveries_are_timed_from_the_publishers_clock(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """One for each receiver; what history fills a gap with is not among them."""
        for _ in range(2):
            await gateway.connect(alice)
        publication = Publication(data=raw(1))

        gateway.node.on_publication("dm:#alice", publication, None, gateway.node.clock() - 2)
        gateway.node.streams.receive("dm:#alice", publication, None)
        await settle()

        buckets, total = gateway.node.metrics.histograms["gateway_message_delivery_seconds"][1][
            ""
        ].read()
        assert dict(buckets)["1.0"] == 0
        assert dict(buckets)["2.5"] == 2
        assert total == pytest.approx(4)


class TestCall:
    """Hooks, or none."""

    async def test_without_hooks_every_method_is_108(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Design section 2."""
        peer = await gateway.connect(alice)

        with pytest.raises(ReplyError) as caught:
            await gateway.node.call(peer.connection, alice, "echo", Raw())

        assert caught.value.code == ErrorCode.NOT_AVAILABLE

    async def test_hook_is_told_who_calls(
        self, make_gateway: Callable[..., Gateway], alice: Credentials, bob: Credentials
    ) -> None:
        """Each his own, whoever else is connected."""
        callers: list[Caller] = []
        hooks = Hooks()
        hooks.rpc("who")(lambda caller, _data: callers.append(caller))
        gateway = make_gateway(hooks=hooks)
        peers = [await gateway.connect(who) for who in (alice, bob)]
        for peer, who in zip(peers, (alice, bob), strict=True):
            await gateway.node.call(peer.connection, who, "who", Raw())

        assert [(caller.user, caller.client) for caller in callers] == [
            ("alice", peers[0].connection.client),
            ("bob", peers[1].connection.client),
        ]

    @pytest.mark.parametrize("data", [b"1e999", b'"\\ud800"', b"[" * 5000 + b"]" * 5000])
    async def test_bad_argument_is_107(
        self, make_gateway: Callable[..., Gateway], alice: Credentials, data: bytes
    ) -> None:
        """Before the hook is asked."""
        gateway = make_gateway(hooks=Hooks())
        peer = await gateway.connect(alice)

        with pytest.raises(ReplyError) as caught:
            await gateway.node.call(peer.connection, alice, "echo", Raw(data))

        assert caught.value.code == ErrorCode.BAD_REQUEST


class TestLife:
    """From start to stop."""

    async def test_start_takes_publications_from_the_broker(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """And makes it ready."""
        gateway.broker._handler = None
        before = gateway.node.ready

        await gateway.node.start()
        peer = await gateway.connect(alice)
        await gateway.broker.publish("dm:#alice", Publication(data=raw(1)))

        assert (before, gateway.node.ready) == (False, True)
        assert (await peer.receive())[0]["push"]["pub"]["data"] == 1

    async def test_stop_gives_up_everything(
        self, make_gateway: Callable[..., Gateway], alice: Credentials
    ) -> None:
        """Sockets are closed with a code, the broker and the timers stopped."""
        gateway = make_gateway(hooks=Hooks())
        peers = [await gateway.connect(alice), gateway.open()]

        await gateway.node.stop()

        assert [peer.closed for peer in peers] == [3001, 3001]
        assert not gateway.broker.ready()
        assert gateway.loop.alarms == []

    async def test_drain_tells_of_everybody(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """A process that ends has told the others, and its presence is empty."""
        gateway = make_gateway(channels=CHANNELS)
        told: list[str] = []
        for who in (alice, bob):
            peer = await gateway.connect(who)
            await peer.ask({"id": 2, "subscribe": {"channel": "news:1"}})
        gateway.broker._changed = lambda _channel, changes: told.extend(
            type(change).__name__ for change in changes
        )
        # Somebody elsewhere is still subscribed.
        gateway.broker._channels.add("news:1")
        gateway.broker.held = True  # the line holds back that it gives the channel up

        await gateway.node.stop()

        assert told == ["Leave", "Leave"]
        assert len(gateway.node.presence) == 0

    async def test_gauges_read_what_is(self, gateway: Gateway, alice: Credentials) -> None:
        """The autoscaler's is ``gateway_connections``."""
        await gateway.connect(alice)
        peer = await gateway.connect(alice)
        await peer.ask({"id": 2, "subscribe": {"channel": "news"}})

        gauges: dict[str, Any] = {
            name: read() for name, (_, read) in gateway.node.metrics.gauges.items()
        }

        assert gauges == {
            "gateway_connections": 2,
            "gateway_subscriptions_active": 3,
            "gateway_channels_active": 2,
            "gateway_presence_entries": 0,
            "gateway_draining": False,
        }

    async def test_leaving_twice_is_leaving_once(self, gateway: Gateway) -> None:
        """A member the node no longer knows has nothing to give up."""
        peer = gateway.open()
        gateway.node.leave(peer.connection, [])

        gateway.node.leave(peer.connection, ["news"])

        assert not gateway.node._members
        peer.connection.disconnect(DisconnectCode.NORMAL)

    async def test_connect_reply_names_the_node(self, gateway: Gateway, alice: Credentials) -> None:
        """One name for all its connections."""
        peers = [gateway.open(alice) for _ in range(2)]
        replies = [(await peer.ask({"id": 1, "connect": {}}))[0]["connect"] for peer in peers]

        assert {reply["node"] for reply in replies} == {gateway.node.id}
        assert len({reply["client"] for reply in replies}) == 2


class TestLastSeen:
    """When a user was here last, for other users, where the setting says so."""

    @staticmethod
    async def ask(peer: Peer, data: object = None) -> Any:  # noqa: ANN401
        """Return what the method answers."""
        argument = {"user": "bob"} if data is None else data
        (reply,) = await peer.ask({"id": 9, "rpc": {"method": "last_seen", "data": argument}})
        return reply.get("rpc", reply.get("error"))

    async def test_it_follows_a_user(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Never; now; when he went."""
        gateway = make_gateway(channels=CHANNELS, node_options={"tells_last_seen": True})
        peer = await gateway.connect(alice)
        answers = [await self.ask(peer)]
        other = await gateway.connect(bob)
        gateway.loop.now += 5
        answers.append(await self.ask(peer))
        other.connection.lost(1006)
        gateway.loop.now += 5
        answers.append(await self.ask(peer))

        start = WALL_TIME + gateway.loop.now - 1000 - 10
        assert answers == [
            {"data": {"user": "bob", "last_seen": seen}} for seen in (None, start + 5, start + 5)
        ]

    async def test_it_is_not_there_unless_it_is_set(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """As any other rpc without hooks."""
        peer = await make_gateway(channels=CHANNELS).connect(alice)

        assert (await self.ask(peer))["code"] == 108

    async def test_guests_may_not_ask(self, make_gateway: MakeGateway) -> None:
        """Whoever has not said who he is learns nothing about others."""
        gateway = make_gateway(channels=CHANNELS, node_options={"tells_last_seen": True})
        peer = gateway.open()
        await peer.ask({"id": 1, "connect": {}})

        assert (await self.ask(peer))["code"] == 103

    @pytest.mark.parametrize("data", [{}, [], 5, "bob", {"user": 5}])
    async def test_bad_question_is_107(
        self, make_gateway: MakeGateway, alice: Credentials, data: object
    ) -> None:
        """In the protocol's own terms."""
        gateway = make_gateway(channels=CHANNELS, node_options={"tells_last_seen": True})

        assert (await self.ask(await gateway.connect(alice), data))["code"] == 107

    async def test_method_of_the_operator_comes_first(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Who has one of this name keeps it."""
        hooks = Hooks()

        @hooks.rpc("last_seen")
        async def last_seen(_caller: Caller, _data: object) -> str:
            return "mine"

        gateway = make_gateway(
            channels=CHANNELS, hooks=hooks, node_options={"tells_last_seen": True}
        )

        assert await self.ask(await gateway.connect(alice)) == {"data": "mine"}


async def test_of_several_that_came_at_once_only_as_many_stay_as_may(
    make_gateway: Callable[..., Gateway], alice: Credentials, bob: Credentials
) -> None:
    """There was room for each of them when it was looked at; 3504 in the next turn."""
    gateway = make_gateway(node_options={"connections_per_user": 1})
    peers = [gateway.open(who) for who in (alice, alice, bob)]
    await settle()

    assert [peer.closed for peer in peers] == [None, 3504, None]
    assert gateway.node.users.count("alice") == 1
