"""How subscriptions are told of what is published."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from msgspec import Raw

from tests.ws_gateway.commands import (
    CONNECT,
    MakeGateway,
    publish,
    resume,
    subscribe,
)
from tests.ws_gateway.conftest import Gateway, raw
from ws_gateway.broker.base import Link
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.exceptions import (
    ReplyError,
)
from ws_gateway.hooks import Caller, Hooks, SubscribeAnswer
from ws_gateway.protocol.messages import Publication

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
