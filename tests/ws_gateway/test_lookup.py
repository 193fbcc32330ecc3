"""What can be looked up: by whom, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ws_gateway.commands import publish, subscribe
from tests.ws_gateway.conftest import Gateway
from ws_gateway.codes import ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, ReplyError

MakeGateway = Callable[..., Gateway]

CHANNELS = """
[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
allow_presence_for_subscriber = true
history_size = 4
history_ttl = "60s"
force_recovery = true
presence = true

[namespaces.all]
allow_subscribe_for_client = true
presence = true

[namespaces.books]
allow_subscribe_for_client = true
presence = true
allow_presence_for_client = true

[namespaces.news]
allow_subscribe_for_client = true
join_leave = true

[namespaces.plain]
allow_subscribe_for_client = true
"""


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> Gateway:
    """One whose channels have something to look up."""
    return make_gateway(channels=CHANNELS)


class TestHistory:
    """Protocol section 11: the publications that a channel has kept."""

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
        gateway: Gateway,
        alice: Credentials,
        request_: dict[str, object],
        offsets: list[int],
    ) -> None:
        """Always with the position; publications, epoch and offset are always written."""
        peer = await gateway.connect(alice)
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
        self, gateway: Gateway, alice: Credentials, request_: dict[str, object], code: int
    ) -> None:
        """Not subscribed, no such namespace, another epoch, before the first."""
        peer = await gateway.connect(alice)
        await peer.ask(subscribe("read"))

        (reply,) = await peer.ask({"id": 4, "history": request_})

        assert reply["error"]["code"] == code

    async def test_empty_history_is_written(self, gateway: Gateway, alice: Credentials) -> None:
        """SDKs index these keys."""
        peer = await gateway.connect(alice)
        await peer.ask(subscribe("read"))

        (reply,) = await peer.ask({"id": 4, "history": {"channel": "read", "limit": 5}})

        assert reply["history"].keys() == {"publications", "epoch", "offset"}
        assert (reply["history"]["publications"], reply["history"]["offset"]) == ([], 0)


class TestPresence:
    """Who is in a channel, for those who may know it."""

    async def test_stats_count_users_once(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Protocol section 12: ``num_users`` counts distinct users."""
        peers = [await gateway.connect(who) for who in (alice, alice, bob)]
        for peer in peers:
            await peer.ask({"id": 2, "subscribe": {"channel": "room"}})

        (reply,) = await peers[0].ask({"id": 3, "presence_stats": {"channel": "room"}})

        assert reply == {"id": 3, "presence_stats": {"num_clients": 3, "num_users": 2}}

    @pytest.mark.parametrize("command", ["presence", "presence_stats"])
    @pytest.mark.parametrize(
        ("channel", "code"),
        [("plain:1", 108), ("news:1", 108), ("all:1", 103), ("no:1", 102), ("é", 107)],
    )
    async def test_it_is_refused(
        self, gateway: Gateway, alice: Credentials, command: str, channel: str, code: int
    ) -> None:
        """Protocol section 11: 108 without presence, 103 without permission."""
        peer = await gateway.connect(alice)

        (reply,) = await peer.ask({"id": 2, command: {"channel": channel}})

        assert reply["error"]["code"] == code

    async def test_subscribers_alone_may_ask_where_it_says_so(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """And anybody, where that is allowed."""
        peer = await gateway.connect(alice)

        refused, empty = await peer.ask(
            {"id": 2, "presence": {"channel": "room"}},
            {"id": 3, "presence": {"channel": "books:1"}},
        )

        assert refused["error"]["code"] == 103
        assert empty == {"id": 3, "presence": {"presence": {}}}

    async def test_more_than_can_be_shown_are_106_but_counted(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """An error is better than megabytes."""
        gateway = make_gateway(channels=CHANNELS, node_options={"presence_limit": 2})
        peers = [await gateway.connect(alice) for _ in range(3)]
        replies: list[Any] = []
        for number, peer in enumerate(peers):
            replies = await peer.ask(
                {"id": 2, "subscribe": {"channel": "room"}},
                {"id": 3, "presence": {"channel": "room"}},
                {"id": 4, "presence_stats": {"channel": "room"}},
            )
            assert ("error" in replies[1]) == (number == 2)
            assert replies[2]["presence_stats"]["num_clients"] == number + 1
        assert replies[1]["error"] == {"code": 106, "message": "limit exceeded"}

    @pytest.mark.parametrize("command", ["presence", "presence_stats"])
    async def test_error_100_while_it_cannot_be_had(
        self,
        gateway: Gateway,
        alice: Credentials,
        monkeypatch: pytest.MonkeyPatch,
        command: str,
    ) -> None:
        """Temporary; the connection goes on."""

        async def away(*_: object) -> None:
            raise BrokerUnavailable

        peer = await gateway.connect(alice)
        for name in ("members", "stats"):
            monkeypatch.setattr(gateway.node.presence, name, away)

        (reply,) = await peer.ask({"id": 2, command: {"channel": "books:1"}})

        assert reply["error"] == {
            "code": 100,
            "message": "internal server error",
            "temporary": True,
        }
        assert peer.closed is None


class TestLastSeen:
    """When a user was connected last; whether clients may ask is said where methods are called."""

    async def test_it_is_108_where_it_is_not_kept(self, gateway: Gateway) -> None:
        """Rather than that nobody has seen the user."""
        with pytest.raises(ReplyError) as caught:
            await gateway.node.lookup.last_seen("bob")

        assert caught.value.code == ErrorCode.NOT_AVAILABLE

    async def test_error_100_while_it_cannot_be_had(
        self, make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of presence."""

        async def away(_user: str) -> float | None:
            raise BrokerUnavailable

        gateway = make_gateway(node_options={"tells_last_seen": True})
        monkeypatch.setattr(gateway.node.presence, "last_seen", away)

        with pytest.raises(ReplyError) as caught:
            await gateway.node.lookup.last_seen("bob")

        assert caught.value.code == ErrorCode.INTERNAL
