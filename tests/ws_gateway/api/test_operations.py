"""The methods of the server API on one gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from tests.ws_gateway.api.conftest import API, counted_turns
from tests.ws_gateway.conftest import WALL_TIME, raw
from ws_gateway.api.messages import (
    BatchRequest,
    BroadcastRequest,
    ChannelsRequest,
    Command,
    DisconnectRequest,
    DisconnectWith,
    HistoryRemoveRequest,
    InfoRequest,
    PublishRequest,
    RefreshRequest,
    Request,
    SubscribeRequest,
    UnsubscribeRequest,
    encode,
)
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, ReplyError
from ws_gateway.protocol.messages import (
    ClientInfo,
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
    Publication,
    StreamPosition,
)


async def ask(api: API, request: Request) -> Any:  # noqa: ANN401 - any JSON
    """Ask, and read the answer."""
    return json.loads(encode(await api.perform(request)))


async def fail(api: API, request: Request) -> int:
    """Ask for what cannot be, and return the error's code."""
    with pytest.raises(ReplyError) as raised:
        await api.perform(request)
    return raised.value.code


def publish(channel: str, data: object = 1) -> PublishRequest:
    """Make a request."""
    return PublishRequest(channel=channel, data=raw(data))


class TestChannel:
    """What is known of one channel."""

    async def test_history_is_read_in_pages(self, api: API) -> None:
        """Both ways; without a limit only the position."""
        for number in range(4):
            await api.perform(publish("news", number))

        position = await ask(api, HistoryRequest(channel="news"))
        page = await ask(
            api,
            HistoryRequest(channel="news", limit=2, since=StreamPosition(1, position["epoch"])),
        )
        last = await ask(api, HistoryRequest(channel="news", limit=1, reverse=True))
        every = await ask(api, HistoryRequest(channel="news", limit=-1))

        assert (position["publications"], position["offset"]) == ([], 4)
        assert page["publications"] == [{"data": 1, "offset": 2}, {"data": 2, "offset": 3}]
        assert [one["offset"] for one in last["publications"]] == [4]
        assert len(every["publications"]) == 4

    async def test_history_of_a_client_s_publication_names_him(
        self, api: API, alice: Credentials
    ) -> None:
        """With what others see of him."""
        peer = await api.gateway.connect(alice)
        options = api.gateway.node.publish_options(api.gateway.node.channels.resolve("news"))
        info = ClientInfo(user="alice", client=peer.connection.client, conn_info=raw({"a": 1}))
        await api.gateway.broker.publish("news", Publication(data=raw(1), info=info), options)

        (one,) = (await ask(api, HistoryRequest(channel="news", limit=1)))["publications"]

        assert one["info"] == {
            "user": "alice",
            "client": peer.connection.client,
            "conn_info": {"a": 1},
        }

    async def test_bytes_are_in_base64(self, api: API) -> None:
        """And ``data`` is null: JSON has no bytes."""
        await api.perform(PublishRequest(channel="bytes:1", b64data="/wA="))

        (one,) = (await ask(api, HistoryRequest(channel="bytes:1", limit=1)))["publications"]

        assert (one["data"], one["b64data"]) == (None, "/wA=")

    async def test_history_is_forgotten_and_the_position_stays(self, api: API) -> None:
        """So that nobody is given an offset twice."""
        await api.perform(publish("news"))

        assert await ask(api, HistoryRemoveRequest(channel="news")) == {}

        left = await ask(api, HistoryRequest(channel="news", limit=-1))
        assert (left["publications"], left["offset"]) == ([], 1)

    async def test_presence_says_who_is_there(self, api: API, alice: Credentials) -> None:
        """And how many; one user twice is one user."""
        peer, other = await api.gateway.connect(alice), await api.gateway.connect(alice)
        for one in (peer, other):
            await one.ask({"id": 2, "subscribe": {"channel": "news"}})

        who = (await ask(api, PresenceRequest(channel="news")))["presence"]
        count = await ask(api, PresenceStatsRequest(channel="news"))

        assert who[peer.connection.client] == {
            "user": "alice",
            "client": peer.connection.client,
            "conn_info": {"name": "Alice"},
        }
        assert count == {"num_clients": 2, "num_users": 1}

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            *((kind(channel="nowhere:1"), 102) for kind in (PresenceRequest, HistoryRequest)),
            *((kind(), 107) for kind in (PresenceRequest, HistoryRequest, HistoryRemoveRequest)),
            *((kind(channel="room:1"), 108) for kind in (PresenceRequest, PresenceStatsRequest)),
            *((kind(channel="room:1"), 108) for kind in (HistoryRequest, HistoryRemoveRequest)),
            (HistoryRequest(channel="news", since=StreamPosition(2**64, "")), 107),
            (HistoryRequest(channel="news", limit=1, since=StreamPosition(1, "other")), 112),
            (HistoryRequest(channel="news", since=StreamPosition(0, ""), reverse=True), 107),
        ],
    )
    async def test_what_cannot_be_has_its_error(
        self, api: API, request_: Request, code: int
    ) -> None:
        """No namespace, no name, nothing kept there, or a position that is none."""
        assert await fail(api, request_) == code

    async def test_without_the_broker_it_is_100(
        self, api: API, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Temporary."""
        api.gateway.broker.down = BrokerUnavailable()

        async def away(_channel: str) -> None:
            raise BrokerUnavailable

        monkeypatch.setattr(api.gateway.broker, "remove_history", away)

        assert await fail(api, HistoryRequest(channel="news")) == 100
        assert await fail(api, HistoryRemoveRequest(channel="news")) == 100


class TestUser:
    """What is done to the connections of one user; the orders have tests of their own."""

    async def test_each_command_reaches_him(self, api: API, alice: Credentials) -> None:
        """Subscribed, unsubscribed, refreshed, closed."""
        peer = await api.gateway.connect(alice)
        data, info = Raw(b'{"d":1}'), Raw(b'{"i":1}')

        await api.perform(SubscribeRequest(user="alice", channel="room:1", data=data, info=info))
        await api.perform(UnsubscribeRequest(user="alice"))
        await api.perform(RefreshRequest(user="alice", info=info))
        assert peer.connection.credentials is not None
        assert peer.connection.credentials.info == b'{"i":1}'
        subscribed, unsubscribed = await peer.receive()
        await api.perform(DisconnectRequest(user="alice"))

        assert subscribed["push"]["subscribe"]["data"] == {"d": 1}
        assert "unsubscribe" in unsubscribed["push"]
        assert peer.transport.closed == (3503, "force disconnect")

    @pytest.mark.parametrize(
        ("chosen", "closed"),
        [
            (DisconnectWith(), (3503, "force disconnect")),
            (DisconnectWith(code=3005), (3005, "connection expired")),
            (DisconnectWith(code=4321), (4321, "force disconnect")),
            (DisconnectWith(code=4321, reason="tidying up"), (4321, "tidying up")),
            (DisconnectWith(reason="out"), (3503, "out")),
        ],
    )
    async def test_a_close_has_a_code_and_words(
        self, api: API, alice: Credentials, chosen: DisconnectWith, closed: tuple[int, str]
    ) -> None:
        """Never an empty reason, which SDKs misread."""
        peer = await api.gateway.connect(alice)

        await api.perform(DisconnectRequest(user="alice", disconnect=chosen))

        assert peer.transport.closed == closed

    async def test_expired_is_now(self, api: API, alice: Credentials) -> None:
        """The client comes back with a new token."""
        peer = await api.gateway.connect(alice)

        await api.perform(RefreshRequest(user="alice", expired=True))

        assert peer.closed == 3005

    @pytest.mark.parametrize(
        "request_",
        [
            SubscribeRequest(user="nobody", channel="news"),
            UnsubscribeRequest(user="nobody", channel="news"),
            DisconnectRequest(user="nobody"),
            RefreshRequest(user="nobody"),
            DisconnectRequest(client="nobody's"),
            DisconnectRequest(session="nobody's"),
        ],
        ids=range(6),
    )
    async def test_who_is_not_there_is_no_error(self, api: API, request_: Request) -> None:
        """It is so already."""
        assert await ask(api, request_) == {}

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (SubscribeRequest(channel="news"), 107),
            (SubscribeRequest(user="alice"), 107),
            (SubscribeRequest(user="alice", channel="nowhere:1"), 102),
            (SubscribeRequest(user="alice", channel="news", expire_at=1), 107),
            (SubscribeRequest(user="alice", channel="news", expire_at=-1), 107),
            (SubscribeRequest(user="alice", channel="news", data=Raw(b'"\\ud800"')), 107),
            (SubscribeRequest(user="alice", channel="news", b64info="/w=="), 107),
            (SubscribeRequest(user="alice", channel="news", b64data="x"), 107),
            (SubscribeRequest(user="alice", channel="news", data=raw("x" * 1000)), 107),
            (
                SubscribeRequest(
                    user="alice", channel="news", recover_since=StreamPosition(2**64, "e")
                ),
                107,
            ),
            (UnsubscribeRequest(channel="news"), 107),
            (UnsubscribeRequest(user="alice", channel="nowhere:1"), 102),
            (DisconnectRequest(), 107),
            (DisconnectRequest(user="alice", whitelist=("a",) * 10_001), 107),
            (DisconnectRequest(user="alice", disconnect=DisconnectWith(code=1006)), 107),
            (DisconnectRequest(user="alice", disconnect=DisconnectWith(reason="x" * 124)), 107),
            (DisconnectRequest(user="alice", disconnect=DisconnectWith(reason="\u20ac" * 42)), 107),
            (DisconnectRequest(user="alice", disconnect=DisconnectWith(reason="a\nb")), 107),
            (DisconnectRequest(user="alice", disconnect=DisconnectWith(reason='{"a":1}')), 107),
            (RefreshRequest(), 107),
            (RefreshRequest(user="alice", expire_at=-1), 107),
            (RefreshRequest(user="alice", info=raw("x" * 1000)), 107),
        ],
        ids=range(22),
    )
    async def test_what_cannot_be_has_its_error(
        self, api: API, alice: Credentials, request_: Request, code: int
    ) -> None:
        """And nobody is touched."""
        peer = await api.gateway.connect(alice)

        assert await fail(api, request_) == code

        assert peer.closed is None
        assert await peer.receive() == []

    async def test_one_that_ends_in_the_future_begins(self, api: API, alice: Credentials) -> None:
        """By the wall clock."""
        peer = await api.gateway.connect(alice)

        await api.perform(
            SubscribeRequest(user="alice", channel="news", expire_at=int(WALL_TIME) + 60)
        )

        assert len(await peer.receive()) == 1


class TestNodes:
    """What is known of all nodes."""

    async def test_channels_have_subscribers(self, api: API, alice: Credentials) -> None:
        """Those that match."""
        peer = await api.gateway.connect(alice)
        for number, channel in enumerate(["room:1", "room:2", "news"], 2):
            await peer.ask({"id": number, "subscribe": {"channel": channel}})

        every = await ask(api, ChannelsRequest())
        rooms = await ask(api, ChannelsRequest(pattern="room:*"))

        assert every["channels"].keys() == {"room:1", "room:2", "news"}
        assert rooms == {"channels": {"room:1": {"num_clients": 1}, "room:2": {"num_clients": 1}}}

    async def test_a_pattern_that_is_none_is_refused(self, api: API) -> None:
        """Before a node is asked."""
        assert await fail(api, ChannelsRequest(pattern="*" * 100)) == 107

    async def test_nodes_say_how_they_are(self, api: API) -> None:
        """Each with its id."""
        (node,) = (await ask(api, InfoRequest()))["nodes"]

        assert node["uid"] == api.gateway.node.id
        assert node["version"] == "test 1"

    async def test_no_way_to_the_nodes_is_100(self, api: API) -> None:
        """Temporary."""
        await api.cluster.stop()

        assert await fail(api, InfoRequest()) == 100
        assert await fail(api, ChannelsRequest()) == 100
        assert await fail(api, DisconnectRequest(user="alice")) == 100


class TestBatch:
    """Several at once."""

    @pytest.mark.parametrize("parallel", [False, True])
    async def test_each_is_answered_in_its_place(self, api: API, parallel: bool) -> None:
        """Also those that fail."""
        commands = (
            Command(publish=publish("news")),
            Command(publish=publish("nowhere:1")),
            Command(),
            Command(info=InfoRequest(), channels=ChannelsRequest()),
            Command(broadcast=BroadcastRequest(channels=("news",), data=raw(1))),
            Command(presence_stats=PresenceStatsRequest(channel="news")),
        )

        replies = (await ask(api, BatchRequest(commands=commands, parallel=parallel)))["replies"]

        kinds = [list(reply) for reply in replies]
        errors = [["publish"], ["error"], ["error"], ["error"], ["broadcast"], ["presence_stats"]]
        assert kinds == errors
        assert [reply["error"]["code"] for reply in replies[1:4]] == [102, 107, 107]
        assert replies[0]["publish"]["offset"] == 1

    @pytest.mark.parametrize("parallel", [False, True])
    async def test_a_large_one_leaves_turns_to_others(self, api: API, parallel: bool) -> None:
        """Each of its commands may have thousands of subscribers here."""
        commands = tuple(Command(publish=publish("room:1")) for _ in range(1000))

        async with counted_turns() as turns:
            done = await ask(api, BatchRequest(commands=commands, parallel=parallel))

        assert done["replies"] == [{"publish": {}}] * 1000
        assert len(turns) >= 1000 // 64

    async def test_a_batch_of_none_or_too_many_is_refused(self, api: API) -> None:
        """107."""
        assert await fail(api, BatchRequest()) == 107
        assert await fail(api, BatchRequest(commands=(Command(),) * 1001)) == 107


async def test_what_is_done_is_counted(api: API) -> None:
    """By method and outcome; nothing of a channel or a user."""
    await api.perform(publish("news"))
    await fail(api, publish("nowhere:1"))

    assert api.operations.counts == {("publish", 0): 1, ("publish", 102): 1}
