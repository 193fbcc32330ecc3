"""Publications from a backend."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec import Raw

from tests.ws_gateway.api.conftest import API, counted_turns
from tests.ws_gateway.conftest import Peer
from ws_gateway.api.messages import BroadcastRequest, PublishRequest
from ws_gateway.api.publishing import Publisher, read_base64, read_shown
from ws_gateway.broker.base import HistoryFilter
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, ReplyError
from ws_gateway.protocol.messages import ABSENT

ALL = HistoryFilter(limit=-1)


@pytest.fixture
async def publisher(api: API) -> Publisher:
    """Of one gateway."""
    return Publisher(api.gateway.node)


async def subscribed(api: API, alice: Credentials, channel: str, **wish: Any) -> Peer:  # noqa: ANN401
    """Open a connection in a channel."""
    peer = await api.gateway.connect(alice)
    (reply,) = await peer.ask({"id": 2, "subscribe": {"channel": channel, **wish}})
    assert "subscribe" in reply
    return peer


def publish(channel: str, data: object = 1, **more: Any) -> PublishRequest:  # noqa: ANN401
    """Make a request."""
    return PublishRequest(channel=channel, data=Raw(json.dumps(data).encode()), **more)


async def test_it_reaches_subscribers_with_its_tags_and_without_a_sender(
    api: API, publisher: Publisher, alice: Credentials
) -> None:
    """The server has no user."""
    peer = await subscribed(api, alice, "news")

    published = await publisher.publish(publish("news", {"a": 1}, tags={"lang": "de"}))

    (reply,) = await peer.receive()
    pub = reply["push"]["pub"]
    assert published.offset == 1
    assert published.epoch == pub.pop("epoch")
    assert pub == {"data": {"a": 1}, "offset": 1, "tags": {"lang": "de"}}


async def test_a_filter_of_tags_chooses(api: API, publisher: Publisher, alice: Credentials) -> None:
    """Only this API sets tags."""
    wish = {"tf": {"key": "lang", "cmp": "eq", "val": "de"}}
    peer = await subscribed(api, alice, "news", **wish)

    for lang in ("en", "de", "fr"):
        await publisher.publish(publish("news", lang, tags={"lang": lang}))

    assert [reply["push"]["pub"]["data"] for reply in await peer.receive()] == ["de"]


async def test_without_history_there_is_no_place(publisher: Publisher) -> None:
    """Whether the channel has none, or this publication shall be in none."""
    plain = await publisher.publish(publish("room:1"))
    skipped = await publisher.publish(publish("news", skip_history=True))

    assert [(one.offset, one.epoch) for one in (plain, skipped)] == [(0, "")] * 2


async def test_the_same_key_publishes_once_in_each_channel(
    api: API, publisher: Publisher, alice: Credentials
) -> None:
    """A retry is answered as the first was."""
    peer = await subscribed(api, alice, "news")

    first = await publisher.publish(publish("news", 1, idempotency_key="k"))
    again = await publisher.publish(publish("news", 2, idempotency_key="k"))
    other = await publisher.publish(publish("old", 3, idempotency_key="k"))

    assert (again, other.offset) == (first, 1)
    assert len(await peer.receive()) == 1


async def test_an_older_version_is_dropped(
    api: API, publisher: Publisher, alice: Credentials
) -> None:
    """Also beyond what a double counts; another epoch begins anew."""
    peer = await subscribed(api, alice, "news")

    for version, epoch in ((2**60 + 1, "a"), (2**60, "a"), (2**60 + 2, "a"), (1, "b")):
        await publisher.publish(publish("news", version, version=version, version_epoch=epoch))

    told = [reply["push"]["pub"]["data"] for reply in await peer.receive()]
    assert told == [2**60 + 1, 2**60 + 2, 1]


async def test_a_difference_is_sent_where_it_is_asked_for(
    api: API, publisher: Publisher, alice: Credentials
) -> None:
    """Though the namespace does not say so of all."""
    peer = await subscribed(api, alice, "news", delta="fossil", positioned=True)
    text = "the same words again and again " * 10

    await publisher.publish(publish("news", text + "1"))
    await publisher.publish(publish("news", text + "2", delta=True))
    await publisher.publish(publish("news", text + "3"))

    pubs = [reply["push"]["pub"] for reply in await peer.receive()]
    assert [pub.get("delta", False) for pub in pubs] == [False, True, False]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (PublishRequest(), 107),
        (PublishRequest(channel="news"), 107),
        (PublishRequest(data=Raw(b"1")), 107),
        (publish("nowhere:1"), 102),
        (publish("x" * 256), 107),
        (publish("k\u00e4se"), 107),
        (publish("news", "x" * 1000), 107),
        (publish("news", 1, tags={"t": "x" * 1000}), 107),
        (publish("news", 1, idempotency_key="k" * 256), 107),
        (publish("news", 1, version_epoch="k" * 256), 107),
        (publish("news", 1, version=2**64), 107),
        (publish("objects:1", [1]), 107),
        (PublishRequest(channel="news", data=Raw(b"1e999")), 107),
        (PublishRequest(channel="news", data=Raw(b'"\\ud800"')), 107),
        (PublishRequest(channel="news", data=Raw(b"[" * 100 + b"]" * 100)), 107),
        (PublishRequest(channel="news", b64data="!"), 107),
        (PublishRequest(channel="news", b64data="MQ"), 107),
        (PublishRequest(channel="news", b64data="/w=="), 107),
        (PublishRequest(channel="bytes:1", b64data=base64.b64encode(bytes(1001)).decode()), 107),
    ],
    ids=range(19),
)
async def test_what_no_client_could_be_given_is_refused(
    api: API, publisher: Publisher, request_: PublishRequest, code: int
) -> None:
    """The channel, the payload or an option; nothing is published."""
    with pytest.raises(ReplyError) as raised:
        await publisher.publish(request_)

    assert raised.value.code == code
    assert ("publish", request_.channel) not in api.gateway.broker.requests


async def test_bytes_go_where_bytes_may(api: API, publisher: Publisher) -> None:
    """Elsewhere base64 is a spelling of JSON, and it beats ``data``."""
    await publisher.publish(PublishRequest(channel="bytes:1", b64data="/wA="))
    await publisher.publish(PublishRequest(channel="news", b64data="WzFd", data=Raw(b"2")))

    binary = await api.gateway.broker.history("bytes:1", ALL)
    text = await api.gateway.broker.history("news", ALL)
    assert [bytes(one.data) for one in binary.publications] == [b"\xff\x00"]
    assert [bytes(one.data) for one in text.publications] == [b"[1]"]


async def test_without_the_broker_it_is_an_error(api: API, publisher: Publisher) -> None:
    """100: nothing is acknowledged that the broker did not take."""
    api.gateway.broker.down = BrokerUnavailable()

    with pytest.raises(ReplyError, match="100"):
        await publisher.publish(publish("news"))


async def test_a_broadcast_answers_for_each_channel_in_order(publisher: Publisher) -> None:
    """One that fails stops no other."""
    channels = ("news", "nowhere:1", "room:1", "news")

    done = await publisher.broadcast(BroadcastRequest(channels=channels, data=Raw(b"1")))

    assert [one.error and one.error.code for one in done.responses] == [None, 102, None, None]
    assert [one.result and one.result.offset for one in done.responses] == [1, None, 0, 2]
    with pytest.raises(ReplyError, match="107"):
        await publisher.broadcast(BroadcastRequest(data=Raw(b"1")))


async def test_a_large_broadcast_leaves_turns_to_others(publisher: Publisher) -> None:
    """Ten thousand channels, and the loop turns meanwhile."""
    channels = tuple(f"room:{number}" for number in range(10_000))

    async with counted_turns() as turns:
        done = await publisher.broadcast(BroadcastRequest(channels=channels, data=Raw(b"1")))

    assert len(done.responses) == 10_000
    assert all(one.error is None for one in done.responses)
    assert len(turns) > 70


def test_what_is_shown_is_json() -> None:
    """Nothing at all is nothing."""
    assert read_shown(ABSENT, "") == b""
    assert read_shown(Raw(b'{"a":\n1}'), "") == b'{"a": 1}'
    assert read_shown(Raw(b"1"), "Mg==") == b"2"
    assert bytes(read_base64("/w==")) == b"\xff"
    for data, b64data in ((Raw(b"x"), ""), (ABSENT, "/w=="), (ABSENT, "*")):
        with pytest.raises(ReplyError, match="107"):
            read_shown(data, b64data)
