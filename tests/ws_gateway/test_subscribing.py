"""How subscriptions begin and end: what each needs is there for it, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ws_gateway.conftest import Gateway, Peer, settle
from ws_gateway.codes import DisconnectCode
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.exceptions import BrokerUnavailable, Disconnect, ReplyError

MakeCredentials = Callable[..., Credentials]
MakeGateway = Callable[..., Gateway]

PRESENCE = """
[client]
allow_anonymous_connect = true

[without_namespace]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
presence = true
join_leave = true
allow_presence_for_subscriber = true

[namespaces.all]
allow_subscribe_for_client = true
presence = true
join_leave = true
force_push_join_leave = true

[namespaces.news]
allow_subscribe_for_client = true
join_leave = true
force_push_join_leave = true

[namespaces.plain]
allow_subscribe_for_client = true
"""


class TestAttach:
    """The first subscriber of a channel asks the broker, the last one gives it up."""

    async def test_broker_is_asked_once_per_channel(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Whoever comes later is served by the subscription that is there."""
        peers = [await gateway.connect(who) for who in (alice, bob, alice)]
        for peer in peers:
            await peer.ask({"id": 2, "subscribe": {"channel": "news"}})

        assert gateway.broker.requests.count(("subscribe", "news")) == 1
        for peer in peers:
            assert gateway.broker.subscribed("news")
            peer.connection.lost(1006)
        assert not gateway.broker.subscribed("news")
        assert gateway.broker.requests.count(("unsubscribe", "news")) == 1

    async def test_two_at_once_share_the_channel(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Both ask while neither has it; both get it, and both must leave before it goes."""
        peers = [await gateway.connect(who) for who in (alice, bob)]
        gateway.broker.held = True
        for peer in peers:
            peer.send({"id": 2, "subscribe": {"channel": "news"}})

        gateway.broker.release()

        for peer in peers:
            assert await peer.receive() == [{"id": 2, "subscribe": {}}]
        peers[0].connection.lost(1006)
        assert gateway.broker.subscribed("news")

    async def test_one_that_gives_up_does_not_take_the_channel_from_another(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """The other looks again, and asks anew."""
        leaving, staying = [await gateway.connect(who) for who in (alice, bob)]
        gateway.broker.held = True
        for peer in (leaving, staying):
            peer.send({"id": 2, "subscribe": {"channel": "news"}})
        await settle()

        leaving.connection.lost(1006)
        await settle()
        gateway.broker.release()
        await settle()
        gateway.publish("news", 1)

        replies = await staying.receive()
        assert replies[0] == {"id": 2, "subscribe": {}}
        assert replies[1]["push"]["pub"]["data"] == 1
        assert gateway.broker.subscribed("news")

    async def test_last_one_leaving_during_anothers_wait(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """The broker is told to give the channel up before it has answered the second."""
        first, second = [await gateway.connect(who) for who in (alice, bob)]
        gateway.broker.held = True
        first.send({"id": 2, "subscribe": {"channel": "news"}})
        second.send({"id": 2, "subscribe": {"channel": "news"}})
        gateway.broker.release(count=1)
        await settle()
        assert await first.receive() == [{"id": 2, "subscribe": {}}]

        first.connection.lost(1006)
        gateway.broker.release()

        assert await second.receive() == [{"id": 2, "subscribe": {}}]
        assert gateway.broker.subscribed("news")

    async def test_all_or_none(self, gateway: Gateway, make_credentials: MakeCredentials) -> None:
        """What was had before the broker went away is given up again."""
        peer = gateway.open(make_credentials(channels=("staff:1", "staff:2")))
        gateway.broker.held = True
        peer.send({"id": 1, "connect": {}})
        await settle()
        gateway.broker.release(count=1)
        await settle()

        gateway.broker.release(BrokerUnavailable())

        (reply,) = await peer.receive()
        assert reply["error"] == {
            "code": 100,
            "message": "internal server error",
            "temporary": True,
        }
        assert gateway.broker.channels == set()
        assert len(gateway.node.hub) == 0

    async def test_channel_that_a_claim_names_twice_is_one(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Also one's own personal channel."""
        who = make_credentials(channels=("staff:1", "staff:1", "dm:#alice"))

        assert gateway.node.subscribing.personal_channels(who) == ["staff:1", "dm:#alice"]

    @pytest.mark.parametrize(
        ("channel", "code"), [("nowhere:1", 102), ("é", 107), ("", 107), ("dm:#bob", 103)]
    )
    async def test_claim_that_names_no_channel_is_refused(
        self, gateway: Gateway, make_credentials: MakeCredentials, channel: str, code: int
    ) -> None:
        """Protocol section 5: an unknown namespace is 102; another's personal channel is 103."""
        with pytest.raises(ReplyError) as caught:
            gateway.node.subscribing.personal_channels(make_credentials(channels=(channel,)))

        assert caught.value.code == code

    async def test_more_channels_than_a_connection_may_have_end_it(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Protocol section 5: too many server-side channels are 3505, the personal one counted."""
        limit = gateway.node.session_limits.max_channels
        channels = tuple(f"staff:{number}" for number in range(limit))

        with pytest.raises(Disconnect) as caught:
            gateway.node.subscribing.personal_channels(make_credentials(channels=channels))

        assert caught.value.code == 3505


def pushed(replies: list[Any]) -> list[tuple[str, str, str]]:
    """Return (channel, what, user) of every join and leave."""
    pushes = [reply["push"] for reply in replies if "push" in reply]
    return [
        (push["channel"], what, push[what]["info"]["user"])
        for push in pushes
        for what in ("join", "leave")
        if what in push
    ]


class TestPresence:
    """Whoever is subscribed is in the channel, and nobody else."""

    async def test_who_is_subscribed_is_in_it(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """By connection, with what others see; until it unsubscribes or has gone."""
        gateway = make_gateway(channels=PRESENCE)
        one, other = await gateway.connect(alice), await gateway.connect(bob)
        for peer in (one, other):
            await peer.ask({"id": 2, "subscribe": {"channel": "room"}})

        (reply,) = await one.ask({"id": 3, "presence": {"channel": "room"}})
        assert reply["presence"]["presence"] == {
            one.connection.client: {
                "user": "alice",
                "client": one.connection.client,
                "conn_info": {"name": "Alice"},
            },
            other.connection.client: {"user": "bob", "client": other.connection.client},
        }
        await other.ask({"id": 4, "unsubscribe": {"channel": "room"}})
        (reply,) = await one.ask({"id": 5, "presence": {"channel": "room"}})
        assert list(reply["presence"]["presence"]) == [one.connection.client]
        one.connection.lost(1006)
        assert len(gateway.node.presence) == 0

    async def test_failed_subscription_leaves_no_entry(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Nobody is told of who never was there."""
        gateway = make_gateway(channels=PRESENCE)
        peer = await gateway.connect(alice)
        gateway.broker.down = BrokerUnavailable()

        (reply,) = await peer.ask({"id": 2, "subscribe": {"channel": "all:1"}})

        assert reply["error"]["code"] == 100
        assert len(gateway.node.presence) == 0


class TestJoinLeave:
    """Who watches a channel is told who comes and who goes."""

    async def test_subscriber_is_told_of_itself_after_the_reply(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Protocol section 12: "Subscriber receives its own join"."""
        peer = await make_gateway(channels=PRESENCE).connect(alice)

        replies = await peer.ask({"id": 2, "subscribe": {"channel": "all:1"}})

        client = peer.connection.client
        info = {"user": "alice", "client": client, "conn_info": {"name": "Alice"}}
        assert replies == [
            {"id": 2, "subscribe": {}},
            {"push": {"channel": "all:1", "join": {"info": info}}},
        ]

    async def test_others_are_told_of_every_end(
        self, make_gateway: MakeGateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Of unsubscribing, of leaving, and of being cut off."""
        gateway = make_gateway(channels=PRESENCE)
        watcher = await gateway.connect(alice)
        await watcher.ask({"id": 2, "subscribe": {"channel": "all:1"}})
        ends: list[Callable[[Peer], None]] = [
            lambda peer: peer.send({"id": 9, "unsubscribe": {"channel": "all:1"}}),
            lambda peer: peer.connection.lost(1006),
            lambda peer: peer.connection.disconnect(DisconnectCode.SHUTDOWN),
        ]
        for end in ends:
            peer = await gateway.connect(bob)
            await peer.ask({"id": 2, "subscribe": {"channel": "all:1"}})
            end(peer)
            assert pushed(await watcher.receive()) == [
                ("all:1", "join", "bob"),
                ("all:1", "leave", "bob"),
            ]
            if peer.closed is None:
                assert pushed(await peer.receive()) == []

    async def test_who_did_not_ask_is_told_nothing(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Without ``force_push_join_leave`` the client says so, where it may see presence."""
        gateway = make_gateway(channels=PRESENCE)
        silent, watcher, guest = (
            await gateway.connect(alice),
            await gateway.connect(alice),
            gateway.open(),
        )
        await guest.ask({"id": 1, "connect": {}})
        told = {}
        for name, peer, wish in (
            ("silent", silent, False),
            ("watcher", watcher, True),
            ("guest", guest, True),
        ):
            replies = await peer.ask(
                {"id": 2, "subscribe": {"channel": "room", "join_leave": wish}}
            )
            told[name] = pushed(replies)

        assert told == {"silent": [], "watcher": [("room", "join", "alice")], "guest": []}
        assert pushed(await watcher.receive()) == [("room", "join", "")]
        assert pushed(await silent.receive()) == []

    async def test_it_needs_no_presence(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """The two are options of their own."""
        gateway = make_gateway(channels=PRESENCE)
        peer = await gateway.connect(alice)

        replies = await peer.ask({"id": 2, "subscribe": {"channel": "news:1"}})

        assert pushed(replies) == [("news:1", "join", "alice")]
        assert len(gateway.node.presence) == 0

    async def test_server_side_subscriptions_are_told_too(
        self, make_gateway: MakeGateway, make_credentials: MakeCredentials
    ) -> None:
        """The python SDK's own tests want their own join there."""
        gateway = make_gateway(channels=PRESENCE)
        peer = gateway.open()
        gateway.tokens.known["t"] = make_credentials(channels=("all:1",))

        connected, *replies = await peer.ask({"id": 1, "connect": {"token": "t"}})

        assert connected["connect"]["subs"] == {"all:1": {}}
        assert pushed(replies) == [("all:1", "join", "alice")]
        assert len(gateway.node.presence) == 1

    async def test_token_may_say_otherwise_of_one_subscription(
        self, make_gateway: MakeGateway, make_credentials: MakeCredentials
    ) -> None:
        """``override`` turns presence and join/leave on, and shows its own ``chan_info``."""
        grant = SubscriptionGrant(
            info=b'{"role":"owner"}',
            override=(("presence", True), ("join_leave", True), ("force_push_join_leave", True)),
        )
        gateway = make_gateway(channels=PRESENCE)
        gateway.tokens.known["t"] = make_credentials(
            channels=("plain:1",), subs=(("plain:1", grant),)
        )
        peer = gateway.open()

        _, join = await peer.ask({"id": 1, "connect": {"token": "t"}})

        assert join["push"]["join"]["info"]["chan_info"] == {"role": "owner"}
        members = await gateway.node.presence.members("plain:1", 5)
        assert members is not None
        assert bytes(members[peer.connection.client].chan_info) == b'{"role":"owner"}'
