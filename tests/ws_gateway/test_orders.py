"""What the operator orders, on the connections of one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.ws_gateway.commands import publish, subscribe
from tests.ws_gateway.conftest import WALL_TIME, Gateway, Peer, raw, settle
from ws_gateway.control.messages import (
    DescribeNode,
    Disconnect,
    ListChannels,
    ListCloses,
    ListConnections,
    Order,
    Refresh,
    ShowConnection,
    Subscribe,
    Target,
    Unsubscribe,
)
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ReplyError
from ws_gateway.orders import Orders

CHANNELS = """
[client]
allow_anonymous_connect = true

[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
presence = true
history_size = 10
history_ttl = "300s"
force_recovery = true
"""
ALICE = Target(user="alice")


@pytest.fixture
async def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    """One process."""
    return make_gateway(channels=CHANNELS, max_channels=3, ping_interval=1000)


@pytest.fixture
async def orders(gateway: Gateway) -> Orders:
    """Its orders."""
    return Orders(gateway.node)


async def ask(orders: Orders, order: Order) -> Any:  # noqa: ANN401 - any JSON
    """Give an order, and read the answer."""
    return json.loads(await orders.perform(order))


def client(peer: Peer) -> str:
    """Name a connection."""
    return peer.connection.client


class TestDisconnect:
    """Connections end, and only those that are meant."""

    async def test_all_of_a_user_s_end_and_no_other_s(
        self, gateway: Gateway, orders: Orders, alice: Credentials, bob: Credentials
    ) -> None:
        """With the code and the reason that were ordered."""
        mine = [await gateway.connect(alice) for _ in range(3)]
        waiting = gateway.open(alice)
        other = await gateway.connect(bob)

        await orders.perform(Disconnect(target=ALICE, code=4321, reason="go away"))

        assert [peer.transport.closed for peer in (*mine, waiting)] == [(4321, "go away")] * 4
        assert other.closed is None

    async def test_a_code_of_the_backend_s_own_is_no_label_of_its_own(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """There are two thousand of them; who asks why is told the very code."""
        for code in (4321, 4999, 3005):
            await gateway.connect(alice)
            await orders.perform(Disconnect(target=ALICE, code=code, reason="go away"))

        assert gateway.node.metrics.disconnects == {3503: 2, 3005: 1}
        assert len(await ask(orders, ListCloses(user="alice", code=4999, limit=9))) == 1

    async def test_one_connection_or_all_but_some(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """By their ids."""
        first, second, third = [await gateway.connect(alice) for _ in range(3)]

        await orders.perform(
            Disconnect(target=Target(user="alice", client=client(first)), code=3503, reason="words")
        )
        assert [first.closed, second.closed, third.closed] == [3503, None, None]

        keep = (client(third), client(first), "unknown")
        await orders.perform(
            Disconnect(target=Target(user="alice", keep=keep), code=3503, reason="words")
        )
        assert [second.closed, third.closed] == [3503, None]

    @pytest.mark.parametrize("field", ["client", "session"])
    async def test_an_id_that_is_not_the_user_s_meets_nobody(
        self, gateway: Gateway, orders: Orders, alice: Credentials, field: str
    ) -> None:
        """A connection's id does not stand for its user, and a WebSocket has no session's."""
        peer = await gateway.connect(alice)
        user = "bob" if field == "client" else "alice"

        target = structs.replace(Target(user=user), **{field: client(peer)})
        await orders.perform(Disconnect(target=target, code=3503, reason="words"))

        assert peer.closed is None

    async def test_a_guest_is_met_by_his_connection_s_id(
        self, gateway: Gateway, orders: Orders
    ) -> None:
        """He has no name; the others without one stay."""
        guest, other, silent = gateway.open(), gateway.open(), gateway.open()
        for peer in (guest, other):
            assert "connect" in (await peer.ask({"id": 1, "connect": {}}))[0]

        await orders.perform(
            Disconnect(target=Target(user="", client=client(guest)), code=3503, reason="words")
        )

        assert [peer.closed for peer in (guest, other, silent)] == [3503, None, None]

    async def test_a_session_names_one_connection(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Of the user's, or of guests; to nobody else, and to no WebSocket, which has none."""
        mine = [await gateway.connect(alice, emulated=session) for session in ("one", "two", "")]
        guests = [gateway.open(emulated=session) for session in ("three", "four")]
        for guest in guests:
            assert "connect" in (await guest.ask({"id": 1, "connect": {}}))[0]

        for user, session in (("alice", "one"), ("", "three"), ("", "two"), ("alice", "four")):
            target = Target(user=user, session=session)
            await orders.perform(Disconnect(target=target, code=3503, reason="words"))

        assert [peer.closed for peer in (*mine, *guests)] == [3503, None, None, 3503, None]

    async def test_many_end_in_batches(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """More than one turn of the loop does."""
        peers = [await gateway.connect(alice) for _ in range(100)]

        await orders.perform(Disconnect(target=ALICE, code=3503, reason="words"))

        assert {peer.closed for peer in peers} == {3503}


class TestSubscribe:
    """Connections are subscribed by the server."""

    async def test_the_client_is_told_and_hears_what_follows(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """With its data first; and it counts as a subscription of the server's."""
        peer = await gateway.connect(alice)

        await orders.perform(Subscribe(target=ALICE, channel="news", data=b'{"a": 1}'))
        await gateway.node.publish(peer.connection, alice, "news", raw(1), subscribed=True)

        begun, publication = await peer.receive()
        assert begun["push"]["subscribe"].pop("epoch")
        assert begun == {
            "push": {
                "channel": "news",
                "subscribe": {"recoverable": True, "positioned": True, "data": {"a": 1}},
            }
        }
        assert publication["push"]["pub"]["data"] == 1
        (shown,) = await ask(orders, ShowConnection(client=client(peer)))
        assert shown["channels"]["news"]["server_side"]

    async def test_what_was_missed_follows_the_subscription(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """From the position that the backend knows."""
        peer = await gateway.connect(alice)
        for number in range(3):
            await gateway.node.publish(peer.connection, alice, "news", raw(number), subscribed=True)
        epoch = (await gateway.broker.history("news")).position.epoch

        await orders.perform(Subscribe(target=ALICE, channel="news", since=(1, epoch)))

        begun, *missed = await peer.receive()
        assert begun["push"]["subscribe"]["offset"] == 1
        assert [one["push"]["pub"]["offset"] for one in missed] == [2, 3]

    async def test_others_see_its_info_and_options_can_differ(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Presence shows the info; with the option off it shows nobody."""
        await gateway.connect(alice)

        await orders.perform(Subscribe(target=ALICE, channel="seen", info=b'{"role":"x"}'))
        await orders.perform(
            Subscribe(
                target=ALICE,
                channel="unseen",
                # A newer gateway may know more of them.
                override=(("history", True), ("presence", False), ("unknown", True)),
            )
        )

        seen = await gateway.node.lookup.read_members("seen")
        assert [bytes(one.chan_info) for one in seen.presence.values()] == [b'{"role":"x"}']
        assert (await gateway.node.lookup.read_members("unseen")).presence == {}

    async def test_one_that_is_there_already_stays_as_it_is(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Nothing is said of it again."""
        peer = await gateway.connect(alice)
        await peer.ask({"id": 2, "subscribe": {"channel": "news"}})

        await orders.perform(Subscribe(target=ALICE, channel="news", data=b"1"))

        assert await peer.receive() == []
        assert gateway.node.hub.subscriptions == 1

    async def test_who_has_not_connected_yet_is_left_alone(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Nothing is written before the first command."""
        peer = gateway.open(alice)

        await orders.perform(Subscribe(target=ALICE, channel="news"))

        assert await peer.receive() == []
        assert not len(gateway.node.hub)

    async def test_more_than_a_connection_may_have_is_an_error(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """106; the others are subscribed all the same."""
        full = await gateway.connect(alice)
        for number in range(3):
            await full.ask({"id": 2, "subscribe": {"channel": f"c{number}"}})
        free = await gateway.connect(alice)

        with pytest.raises(ReplyError, match="106"):
            await orders.perform(Subscribe(target=ALICE, channel="news"))

        assert [reply["push"]["channel"] for reply in await free.receive()] == ["news"]

    async def test_it_ends_when_it_was_told_to(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """3006, after the grace: the client cannot begin it anew."""
        peer = await gateway.connect(alice)

        await orders.perform(Subscribe(target=ALICE, channel="news", expire_at=int(WALL_TIME) + 10))
        await gateway.advance(34)
        assert peer.closed is None
        await gateway.advance(2)

        assert peer.closed == 3006

    async def test_it_waits_for_the_client_s_own_command(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Two at once would both begin the same subscription."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send({"id": 2, "subscribe": {"channel": "news"}})
        subscribing = gateway.node.loop.create_task(
            _subscribe(orders, Subscribe(target=ALICE, channel="news"))
        )
        await settle()
        assert not subscribing.done()

        gateway.broker.release()
        await subscribing

        (reply,) = await peer.receive()
        assert "subscribe" in reply
        assert gateway.node.hub.subscriptions == 1

    async def test_it_does_not_wait_for_all_that_the_client_goes_on_to_send(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Who never stops asking would never be told."""
        peer = await gateway.connect(alice)
        await peer.ask({"id": 2, "subscribe": {"channel": "news"}})
        gateway.broker.held = True
        for number in range(3, 6):
            peer.send({"id": number, "publish": {"channel": "news", "data": 1}})
        ending = [
            gateway.node.loop.create_task(_unsubscribe(orders, channel)) for channel in ("news", "")
        ]
        await settle()

        gateway.broker.release(count=1)
        await asyncio.gather(*ending)

        published, first, end, *later = await peer.receive()
        assert (published["push"]["pub"]["data"], first["id"]) == (1, 3)
        assert end["push"]["unsubscribe"]["code"] == 2000
        assert [reply["error"]["code"] for reply in later] == [103, 103]
        gateway.broker.release()

    async def test_an_order_for_a_connection_that_ends_is_over(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Also one that waits for its turn."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send({"id": 2, "subscribe": {"channel": "news"}})
        ending = [
            gateway.node.loop.create_task(_unsubscribe(orders, channel)) for channel in ("news", "")
        ]
        await settle()
        ending[1].cancel()  # its node stops to wait
        await settle()

        peer.connection.lost(1006)
        await asyncio.gather(*ending, return_exceptions=True)
        gateway.broker.release()
        await settle()

        assert not len(gateway.node.hub)

    async def test_a_connection_that_ends_meanwhile_leaves_nothing(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Also while its order waits."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        waiting = gateway.node.loop.create_task(
            _subscribe(orders, Subscribe(target=ALICE, channel="news"))
        )
        await settle()

        peer.connection.lost(1006)
        await waiting
        gateway.broker.release()
        await settle()

        assert not len(gateway.node.hub)


async def _subscribe(orders: Orders, order: Subscribe) -> None:
    await orders.perform(order)


async def _unsubscribe(orders: Orders, channel: str) -> None:
    async with asyncio.timeout(30):
        await orders.perform(Unsubscribe(target=ALICE, channel=channel))


class TestUnsubscribe:
    """Subscriptions end."""

    async def test_the_client_is_told(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """2000: it does not subscribe again by itself."""
        peer = await gateway.connect(alice)
        await peer.ask({"id": 2, "subscribe": {"channel": "a"}})
        await peer.ask({"id": 3, "subscribe": {"channel": "b"}})

        await orders.perform(Unsubscribe(target=ALICE, channel="a"))

        end = {"code": 2000, "reason": "server unsubscribe"}
        assert await peer.receive() == [{"push": {"channel": "a", "unsubscribe": end}}]
        assert gateway.node.hub.subscriptions == 1

    async def test_no_channel_means_all(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Also those of the server's."""
        peer = await gateway.connect(alice)
        await peer.ask({"id": 2, "subscribe": {"channel": "a"}})
        await orders.perform(Subscribe(target=ALICE, channel="b"))
        await peer.receive()

        await orders.perform(Unsubscribe(target=ALICE, channel=""))

        assert [one["push"]["channel"] for one in await peer.receive()] == ["a", "b"]
        assert not gateway.node.hub.subscriptions

    async def test_what_is_not_there_needs_no_end(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Nothing is said."""
        peer = await gateway.connect(alice)

        await orders.perform(Unsubscribe(target=ALICE, channel="a"))

        assert await peer.receive() == []


class TestRefresh:
    """The end of connections is moved."""

    async def test_it_is_closed_at_its_new_end(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """3005. One that came with the handshake's credential has no grace, and is told nothing."""
        peer = await gateway.connect(alice)

        await orders.perform(Refresh(target=ALICE, expire_at=int(WALL_TIME) + 5))
        assert await peer.receive() == []
        await gateway.advance(4.8)
        assert peer.closed is None
        await gateway.advance(0.4)

        assert peer.closed == 3005

    async def test_a_client_that_refreshes_is_told(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """When to."""
        gateway.tokens.known["t"] = alice
        peer = gateway.open()
        await peer.ask({"id": 1, "connect": {"token": "t"}})

        await orders.perform(Refresh(target=ALICE, expire_at=int(WALL_TIME) + 60))

        assert await peer.receive() == [{"push": {"refresh": {"expires": True, "ttl": 60}}}]

    async def test_an_end_in_the_past_is_now(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """3005."""
        peer = await gateway.connect(alice)

        await orders.perform(Refresh(target=ALICE, expire_at=int(WALL_TIME) - 1))

        assert peer.closed == 3005

    async def test_without_a_time_the_end_stays(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Leaving a field out does not make a connection that never ends."""
        peer = await gateway.connect(alice)
        before = peer.connection.session.closes

        await orders.perform(Refresh(target=ALICE, info=b'{"name":"Eve"}'))

        assert peer.connection.session.closes == before
        assert peer.connection.credentials is not None
        assert peer.connection.credentials.info == b'{"name":"Eve"}'

    async def test_what_others_see_changes_with_it(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """From the next publication on, although most that is shown was written before."""
        peer = await gateway.connect(alice)
        await peer.ask(subscribe("news"))
        before, _ = await peer.ask(publish("news", 1))

        await orders.perform(Refresh(target=ALICE, info=b'{"name":"Eve"}'))
        after, _ = await peer.ask(publish("news", 1))

        names = [one["push"]["pub"]["info"]["conn_info"]["name"] for one in (before, after)]
        assert names == ["Alice", "Eve"]


class TestLooking:
    """What changes nothing."""

    async def test_a_node_says_how_it_is(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Numbers of this process."""
        for _ in range(2):
            peer = await gateway.connect(alice)
            await peer.ask({"id": 2, "subscribe": {"channel": "a"}})
        await gateway.advance(3)

        node = await ask(orders, DescribeNode())

        assert node["uid"] == gateway.node.id
        assert [node[f"num_{what}"] for what in ("clients", "users", "subs", "channels")] == [
            2,
            1,
            2,
            1,
        ]
        assert node["uptime"] in {2, 3}
        assert node["process"]["rss"] > 1_000_000

    async def test_channels_are_counted_by_subscribers(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """Those that match, and no more than can be answered."""
        peer = await gateway.connect(alice)
        for number, channel in enumerate(["a1", "a2", "b"], 2):
            await peer.ask({"id": number, "subscribe": {"channel": channel}})

        assert await ask(orders, ListChannels(pattern="a*", limit=2)) == {"a1": 1, "a2": 1}
        assert len(await ask(orders, ListChannels(pattern="", limit=3))) == 3
        with pytest.raises(ReplyError, match="106"):
            await orders.perform(ListChannels(pattern="", limit=2))

    async def test_connections_come_in_pages_by_their_ids(
        self, gateway: Gateway, orders: Orders, alice: Credentials, bob: Credentials
    ) -> None:
        """Everybody's, one user's, or those of nobody yet."""
        mine = sorted([client(await gateway.connect(alice)) for _ in range(3)])
        other = client(await gateway.connect(bob))
        silent = client(gateway.open())

        async def listed(user: str | None, after: str = "", limit: int = 10) -> list[str]:
            order = ListConnections(user=user, after=after, limit=limit)
            return [one["client"] for one in await ask(orders, order)]

        assert await listed(None) == sorted([*mine, other, silent])
        assert await listed("alice") == mine
        assert await listed("alice", after=mine[0], limit=1) == [mine[1]]
        assert await listed("") == [silent]
        assert await listed("nobody") == []

    async def test_a_connection_that_is_not_here_is_not_shown(self, orders: Orders) -> None:
        """Another node may have it."""
        assert await ask(orders, ShowConnection(client="elsewhere")) == []

    async def test_ends_are_listed_with_the_node(
        self, gateway: Gateway, orders: Orders, alice: Credentials
    ) -> None:
        """The last first, and why."""
        peer = await gateway.connect(alice)
        await orders.perform(Disconnect(target=ALICE, code=4000, reason="maintenance"))

        (close,) = await ask(orders, ListCloses(user="alice", code=4000, limit=10))

        assert (close["client"], close["node"]) == (client(peer), gateway.node.id)
        assert (close["reason"], close["detail"]) == ("maintenance", "server API")
        assert await ask(orders, ListCloses(user="bob", code=0, limit=10)) == []
