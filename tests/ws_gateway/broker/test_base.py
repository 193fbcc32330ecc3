"""The contract suite: every broker keeps what ``Broker`` promises; its sentences are quoted here.

An implementation joins by a line in ``BROKERS``: what makes one out of a test's fixtures. A broker
between processes may deliver after ``publish`` has returned; ``settled`` waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import Raw

from tests.ws_gateway.broker.conftest import Proxy, make_broker, until
from ws_gateway.broker.base import (
    POSITION_ONLY,
    Broker,
    Change,
    HistoryFilter,
    Link,
    Published,
    PublishOptions,
)
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import ABSENT, ClientInfo, Join, Leave, Publication
from ws_gateway.redis_link import Timing


def _behind_a_proxy(request: pytest.FixtureRequest, delay: float, *, split: bool) -> Broker:
    proxy: Proxy = request.getfixturevalue("proxy")
    proxy.delay, proxy.split = delay, split
    return make_broker(proxy.url, timing=Timing())


BROKERS: dict[str, Callable[[pytest.FixtureRequest], Broker]] = {
    "memory": lambda _request: MemoryBroker(),
    "redis": lambda request: make_broker(request.getfixturevalue("redis_server").url),
    "redis-cluster": lambda request: make_broker(
        request.getfixturevalue("redis_cluster").url, timing=Timing()
    ),
    "redis-delayed": lambda request: _behind_a_proxy(request, 0.003, split=False),
    "redis-in-pieces": lambda request: _behind_a_proxy(request, 0, split=True),
}

Received = list[tuple[str, Publication]]

FIVE: dict[str, Any] = {"history_size": 5, "history_ttl": 60.0}
KEPT = PublishOptions(**FIVE)
EVERYTHING = HistoryFilter(limit=-1)


def publication(number: int) -> Publication:
    """Return one that can be told from others."""
    return Publication(data=Raw(str(number).encode()))


def numbers(received: Received) -> list[int]:
    """Return what was delivered."""
    return [int(bytes(publication.data)) for _, publication in received]


async def settled(broker: Broker, received: Received) -> None:
    """Wait until everything published so far is delivered.

    One process's publications come in order, so that one more tells when.
    """
    await broker.subscribe("fence")
    await broker.publish("fence", publication(0))
    async with asyncio.timeout(10):
        while not received or received[-1][0] != "fence":  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    received.pop()


@pytest.fixture(params=list(BROKERS))
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each implementation, not yet started."""
    return BROKERS[request.param](request)


@pytest.fixture
def links() -> list[Link | None]:
    """How what was received hangs together."""
    return []


@pytest.fixture
async def received(broker: Broker, links: list[Link | None]) -> AsyncIterator[Received]:
    """What its handler is called with; the broker is started, and stopped after the test."""
    deliveries: Received = []

    def handle(channel: str, publication: Publication, link: Link | None, _at: float) -> None:
        deliveries.append((channel, publication))
        links.append(link)

    await broker.start(handle)
    await until(broker.ready)
    yield deliveries
    await broker.stop()


class TestStart:
    """Promise: "Begin; ``handler`` is called for every publication in a subscribed channel"."""

    async def test_it_is_ready_between_start_and_stop(self, broker: Broker) -> None:
        """Promise: "Whether publications flow"."""
        before = broker.ready()
        await broker.start(lambda _channel, _publication, _link, _at: None)
        between = broker.ready()
        await broker.stop()

        assert (before, between, broker.ready()) == (False, True, False)

    async def test_handler_is_given_what_was_published(
        self, broker: Broker, received: Received
    ) -> None:
        """The channel, and the publication as it was."""
        info = ClientInfo(user="alice", client="c-1", conn_info=Raw(b'{"name":"Alice"}'))
        sent = Publication(data=Raw(b'{"a": [1, 2.0, "\\u00e9"]}'), info=info)
        await broker.subscribe("news")

        await broker.publish("news", sent)
        await settled(broker, received)

        assert len(received) == 1
        channel, found = received[0]
        assert channel == "news"
        assert bytes(found.data) == bytes(sent.data)
        assert found.info is not None
        assert (found.info.user, found.info.client) == ("alice", "c-1")
        assert bytes(found.info.conn_info) == b'{"name":"Alice"}'
        assert found.info.chan_info is ABSENT  # equal would not do: codecs look for the object

    async def test_server_publication_has_no_info(self, broker: Broker, received: Received) -> None:
        """Absent stays absent."""
        await broker.subscribe("news")

        await broker.publish("news", publication(1))
        await settled(broker, received)

        assert received[0][1].info is None


class TestStop:
    """Promise: "End; the handler is not called any more"."""

    async def test_handler_is_not_called_any_more(self, broker: Broker) -> None:
        """Not even for a channel that is still subscribed."""
        received: Received = []
        await broker.start(
            lambda channel, publication, _link, _at: received.append((channel, publication))
        )
        await broker.subscribe("news")

        await broker.stop()

        await _tolerate_unavailable(broker.publish("news", publication(1)))
        assert received == []


class TestSubscribe:
    """Promise: "Ask for a channel's publications; done when every later one will be delivered"."""

    async def test_every_later_publication_is_delivered(
        self, broker: Broker, received: Received
    ) -> None:
        """Promise: "Publications of one channel reach every handler in the order … each once"."""
        await broker.subscribe("news")

        for number in range(100):
            await broker.publish("news", publication(number))
        await settled(broker, received)

        assert numbers(received) == list(range(100))

    async def test_order_is_that_of_the_calls(self, broker: Broker, received: Received) -> None:
        """Also of calls that nobody awaited one by one."""
        await broker.subscribe("news")

        await asyncio.gather(*(broker.publish("news", publication(n)) for n in range(50)))
        await settled(broker, received)

        assert numbers(received) == list(range(50))

    async def test_nothing_is_delivered_to_a_process_that_is_not_subscribed(
        self, broker: Broker, received: Received
    ) -> None:
        """Promise: "Nothing is delivered to a process that is not subscribed"."""
        await broker.subscribe("news")

        for channel in ("new", "news ", "News", "news:1", "*", "n*", "", "other"):
            await broker.publish(channel, publication(1))
        await settled(broker, received)

        assert received == []

    async def test_it_is_idempotent(self, broker: Broker, received: Received) -> None:
        """Promise: "Idempotent.": twice subscribed is once delivered, and once given up."""
        await broker.subscribe("news")
        await broker.subscribe("news")
        await broker.publish("news", publication(1))
        await settled(broker, received)

        broker.unsubscribe("news")

        await broker.publish("news", publication(2))
        await settled(broker, received)

        assert numbers(received) == [1]

    async def test_subscribed_says_so(self, broker: Broker, received: Received) -> None:
        """Promise: "Whether publications of the channel reach this process now"."""
        await settled(broker, received)

        assert received == []
        assert not broker.subscribed("news")

        await broker.subscribe("news")

        assert broker.subscribed("news")
        assert not broker.subscribed("other")


class TestUnsubscribe:
    """Promise: "Give a channel up; takes effect in the order of calls, and never fails"."""

    async def test_nothing_is_delivered_afterwards(
        self, broker: Broker, received: Received
    ) -> None:
        """And other channels stay."""
        for channel in ("news", "other"):
            await broker.subscribe(channel)

        broker.unsubscribe("news")

        await broker.publish("news", publication(1))
        await broker.publish("other", publication(2))
        await settled(broker, received)

        assert numbers(received) == [2]
        assert not broker.subscribed("news")

    async def test_it_never_fails(self, broker: Broker, received: Received) -> None:
        """Of a channel nobody asked for, twice, and before the broker was started."""
        broker.unsubscribe("news")
        await broker.subscribe("news")
        broker.unsubscribe("news")
        broker.unsubscribe("news")
        await settled(broker, received)

        assert not broker.subscribed("news")
        assert received == []

    async def test_order_of_calls_decides(self, broker: Broker, received: Received) -> None:
        """Promise: "A subscription may be lost again before the caller resumes", and had again."""
        waiting = broker.subscribe("news")
        broker.unsubscribe("news")
        await waiting
        broker.unsubscribe("news")
        await broker.subscribe("news")

        await broker.publish("news", publication(1))
        await settled(broker, received)

        assert numbers(received) == [1]


class TestHistory:
    """Promise: "A channel with history is a stream."."""

    async def test_offsets_rise_by_one_in_one_epoch(
        self, broker: Broker, received: Received, links: list[Link | None]
    ) -> None:
        """Promise: "It has an epoch from the first look at it; offsets rise by one"."""
        before = (await broker.history("news")).position
        await broker.subscribe("news")

        published = [await broker.publish("news", publication(n), KEPT) for n in range(1, 4)]
        await settled(broker, received)

        assert (before.offset, before.mark, bool(before.epoch)) == (0, 0, True)
        assert [found.offset for found in published] == [1, 2, 3]
        assert {found.epoch for found in published} == {before.epoch}
        assert [found.offset for _, found in received] == [1, 2, 3]
        chain = [link for link in links if link is not None]
        assert [link.epoch for link in chain] == [before.epoch] * 3
        assert [link.previous for link in chain] == [0, chain[0].mark, chain[1].mark]

    async def test_history_is_what_was_published(self, broker: Broker, received: Received) -> None:
        """Payload, sender, tags and place."""
        info = ClientInfo(user="alice", client="c-1", conn_info=Raw(b'{"name":"Alice"}'))
        sent = Publication(data=Raw(b'{"a": [1, 2.0]}'), info=info, tags={"k": "v"})
        published = await broker.publish("news", sent, KEPT)

        history = await broker.history("news", EVERYTHING)

        assert received == []
        assert history.position[:2] == (1, published.epoch)
        assert history.last_mark == history.position.mark
        (found,) = history.publications
        assert (found.offset, found.tags, bytes(found.data)) == (1, {"k": "v"}, bytes(sent.data))
        assert found.info is not None
        assert found.info.user == "alice"
        assert bytes(found.info.conn_info) == b'{"name":"Alice"}'

    @pytest.mark.parametrize(
        ("wanted", "offsets"),
        [
            (POSITION_ONLY, []),
            (HistoryFilter(limit=-1), [3, 4, 5, 6, 7]),
            (HistoryFilter(limit=2), [3, 4]),
            (HistoryFilter(limit=2, since=4), [5, 6]),
            (HistoryFilter(limit=-1, since=1), [3, 4, 5, 6, 7]),
            (HistoryFilter(limit=-1, since=7), []),
            (HistoryFilter(limit=-1, since=2**64 - 1), []),
            (HistoryFilter(limit=-1, reverse=True), [7, 6, 5, 4, 3]),
            (HistoryFilter(limit=2, reverse=True), [7, 6]),
            (HistoryFilter(limit=2, since=6, reverse=True), [5, 4]),
            (HistoryFilter(limit=-1, since=3, reverse=True), []),
            (HistoryFilter(limit=-1, since=0, reverse=True), []),
            (HistoryFilter(limit=1, since=100, reverse=True), [7]),
        ],
    )
    async def test_filter_chooses(
        self, broker: Broker, received: Received, wanted: HistoryFilter, offsets: list[int]
    ) -> None:
        """Of seven publications the last five are kept."""
        for number in range(7):
            await broker.publish("news", publication(number), PublishOptions(**FIVE))

        history = await broker.history("news", wanted)

        assert received == []
        assert [found.offset for found in history.publications] == offsets
        assert history.position.offset == 7

    async def test_publications_are_forgotten_in_time(
        self, broker: Broker, received: Received
    ) -> None:
        """The position is not."""
        options = PublishOptions(history_size=5, history_ttl=0.05)
        published = await broker.publish("news", publication(1), options)

        async with asyncio.timeout(10):
            while (history := await broker.history("news", EVERYTHING)).publications:  # noqa: ASYNC110 - Redis's clock
                await asyncio.sleep(0.01)

        assert received == []
        assert history.position[:2] == (1, published.epoch)

    async def test_position_is_forgotten_in_time(self, broker: Broker, received: Received) -> None:
        """Promise: "When its position is lost … it gets a new epoch"."""
        options = PublishOptions(history_size=5, history_ttl=0.02, history_meta_ttl=0.02)
        published = await broker.publish("news", publication(1), options)
        await asyncio.sleep(0.1)

        history = await broker.history("news", EVERYTHING)

        assert received == []
        assert history.position.offset == 0
        assert history.position.epoch != published.epoch
        assert history.publications == ()

    async def test_removed_history_keeps_its_position(
        self, broker: Broker, received: Received
    ) -> None:
        """Promise: "Forget a stream's publications, not its position"."""
        published = await broker.publish("news", publication(1), KEPT)

        await broker.remove_history("news")
        await broker.remove_history("another")

        history = await broker.history("news", EVERYTHING)
        following = await broker.publish("news", publication(2), KEPT)
        assert received == []
        assert history.publications == ()
        assert history.position[:2] == (1, published.epoch)
        assert (following.offset, following.epoch) == (2, published.epoch)

    async def test_one_of_all_names_is_one_stream(self, broker: Broker, received: Received) -> None:
        """Whatever a name has in it."""
        names = ["a", "{a}", "a}", "}a", "a:b", "s:{a}", "i:{a}:b", " ", "a b"]
        for count, name in enumerate(names, start=1):
            for _ in range(count):
                await broker.publish(name, publication(0), KEPT)

        offsets = [(await broker.history(name)).position.offset for name in names]

        assert received == []
        assert offsets == list(range(1, len(names) + 1))

    async def test_previous_payload_goes_along(
        self, broker: Broker, received: Received, links: list[Link | None]
    ) -> None:
        """Promise: "Hand the previous payload to handlers too"; the first has none."""
        options = PublishOptions(**FIVE, use_delta=True)
        await broker.subscribe("news")

        for number in range(3):
            await broker.publish("news", publication(number), options)
        await settled(broker, received)

        assert numbers(received) == [0, 1, 2]
        before = [bytes(link.prev_data) for link in links if link is not None]
        assert before == [b"", b"0", b"1"]


class TestOnce:
    """Promise: "not published again but answered as the first one was"."""

    @pytest.mark.parametrize("options", [FIVE, {}])
    async def test_same_key_is_published_once(
        self, broker: Broker, received: Received, options: dict[str, Any]
    ) -> None:
        """With history or without."""
        await broker.subscribe("news")
        once = PublishOptions(**options, idempotency_key="k")

        first = await broker.publish("news", publication(1), once)
        second = await broker.publish("news", publication(2), once)
        await broker.publish("news", publication(3), PublishOptions(**options, idempotency_key="l"))
        await settled(broker, received)

        assert numbers(received) == [1, 3]
        assert not first.suppressed
        assert second == Published(first.offset, first.epoch, first.receivers, suppressed=True)

    async def test_key_is_of_its_channel(self, broker: Broker, received: Received) -> None:
        """Promise: "a publication into the same channel"."""
        once = PublishOptions(**FIVE, idempotency_key="k")

        published = [await broker.publish(name, publication(1), once) for name in ("a", "b")]

        assert received == []
        assert [found.suppressed for found in published] == [False, False]

    async def test_older_version_is_dropped(self, broker: Broker, received: Received) -> None:
        """Promise: "this or a higher version that are in the channel already"."""
        await broker.subscribe("news")
        versions = [(2, ""), (1, ""), (2, ""), (10, ""), (9, ""), (1, "b"), (1, "b")]

        published = [
            await broker.publish(
                "news",
                publication(number),
                PublishOptions(**FIVE, version=version, version_epoch=epoch),
            )
            for number, (version, epoch) in enumerate(versions)
        ]
        await settled(broker, received)

        assert numbers(received) == [0, 3, 5]
        assert [found.offset for found in published] == [1, 1, 1, 2, 2, 3, 3]
        assert [found.suppressed for found in published] == [n not in (0, 3, 5) for n in range(7)]


class TestPublish:
    """Promise: "Number, keep and deliver a publication in one atomic step"."""

    async def test_channel_without_history_has_no_position(
        self, broker: Broker, received: Received
    ) -> None:
        """Promise: "0 where the channel has no history", and an empty epoch."""
        await broker.subscribe("news")

        published = await broker.publish("news", publication(1))
        await settled(broker, received)

        assert published == Published(offset=0, epoch="", receivers=1)
        assert received[0][1].offset == 0

    async def test_receivers_are_processes_with_a_subscriber(
        self, broker: Broker, received: Received
    ) -> None:
        """Promise: "How many processes had a subscriber to hand it to."; none is no error."""
        alone = await broker.publish("news", publication(1))
        await broker.subscribe("news")
        heard = await broker.publish("news", publication(2))
        await settled(broker, received)

        assert (alone.receivers, heard.receivers) == (0, 1)
        assert numbers(received) == [2]

    @pytest.mark.parametrize("channel", ["#42", "dm:#a,b", "a b", "~!@$%^&*()", "x" * 255])
    async def test_any_channel_name_will_do(
        self, broker: Broker, received: Received, channel: str
    ) -> None:
        """The grammar is checked elsewhere; nothing in a name has a meaning here."""
        await broker.subscribe(channel)

        await broker.publish(channel, publication(1))
        await settled(broker, received)

        assert [name for name, _ in received] == [channel]

    async def test_payload_of_any_size_comes_whole(
        self, broker: Broker, received: Received
    ) -> None:
        """Up to the limit of a message, and beyond it from the server API."""
        data = b'"' + b"x" * 200_000 + b'"'
        await broker.subscribe("news")

        await broker.publish("news", Publication(data=Raw(data)))
        await settled(broker, received)

        assert bytes(received[0][1].data) == data


class TestAnnounce:
    """Promise: "Tell every process that is subscribed who came to a channel and who went"."""

    async def test_told_in_the_order_of_calls(self, broker: Broker) -> None:
        """Everything about them; only of subscribed channels."""
        told: list[tuple[str, list[Change]]] = []
        received: Received = []
        await broker.start(
            lambda channel, publication, _link, _at: received.append((channel, publication)),
            None,
            lambda channel, changes: told.append((channel, list(changes))),
        )
        info = ClientInfo(user="alice", client="c-1", conn_info=Raw(b"1"), chan_info=Raw(b"[]"))
        await broker.subscribe("news")

        await broker.announce("news", [Join(info=info), Leave(info=info)])
        await broker.announce("other", [Join(info=info)])
        await broker.announce("news", [Join(info=info)])

        await settled(broker, received)
        await broker.stop()
        assert told == [
            ("news", [Join(info=info), Leave(info=info)]),
            ("news", [Join(info=info)]),
        ]
        assert received == []

    async def test_refused_when_stopped(self, broker: Broker) -> None:
        """As a publication is."""
        with pytest.raises(BrokerUnavailable):
            await broker.announce("news", [Join(info=ClientInfo(user="u", client="c"))])


async def _tolerate_unavailable(publishing: Awaitable[Any]) -> None:
    # A broker that was stopped may refuse, or accept for nobody.
    try:
        await publishing
    except BrokerUnavailable:
        return
