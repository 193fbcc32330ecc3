"""Channels with history: positions and recovery."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ws_gateway.commands import (
    error,
    publish,
    resume,
    subscribe,
)
from tests.ws_gateway.conftest import Gateway, raw, settle
from ws_gateway.broker.base import Link
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    BrokerUnavailable,
)
from ws_gateway.protocol.messages import Publication

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


class TestStreams:
    """Positions and recovery as a client sees them (protocol sections 7 and 8)."""

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
