"""Commands that wait: for the broker, for others, for their turn, and those that come too fast."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.ws_gateway.commands import (
    CONNECT,
    CONNECT_BY_TOKEN,
    MakeGateway,
    error,
    publish,
    subscribe,
)
from tests.ws_gateway.conftest import Gateway, Peer, settle
from ws_gateway.broker.base import PLAIN, Published, PublishOptions
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    BrokerUnavailable,
)
from ws_gateway.protocol.messages import Publication
from ws_gateway.rate_limit import Rate


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

    @pytest.mark.parametrize("command_id", [0, 2])
    @pytest.mark.parametrize("others", [0, 1, 30])
    async def test_whether_and_by_whom_it_is_heard_plays_no_part(
        self, gateway: Gateway, alice: Credentials, others: int, command_id: int
    ) -> None:
        """Where nothing is answered, or a crowd is written to at the end only."""
        peer, published = self._open(gateway, alice)
        await peer.ask(subscribe("news", 1))
        for _ in range(others):
            await (await gateway.connect(alice)).ask(subscribe("news"))

        for number in range(5):
            peer.send(publish("news", number, command_id and command_id + number))

        assert published == [0]
        assert len(await peer.receive()) == (10 if command_id else 5)
        assert published == [0, 1, 2, 3, 4]

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
