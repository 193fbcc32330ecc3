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

from tests.ws_gateway.broker.conftest import Proxy, make_broker
from ws_gateway.broker.base import Broker, Published
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import ABSENT, ClientInfo, Publication
from ws_gateway.redis_link import Timing


def _behind_a_proxy(request: pytest.FixtureRequest, delay: float, *, split: bool) -> Broker:
    proxy: Proxy = request.getfixturevalue("proxy")
    proxy.delay, proxy.split = delay, split
    return make_broker(proxy.url, timing=Timing())


BROKERS: dict[str, Callable[[pytest.FixtureRequest], Broker]] = {
    "memory": lambda _request: MemoryBroker(),
    "redis": lambda request: make_broker(request.getfixturevalue("redis_server").url),
    "redis-delayed": lambda request: _behind_a_proxy(request, 0.003, split=False),
    "redis-in-pieces": lambda request: _behind_a_proxy(request, 0, split=True),
}

Received = list[tuple[str, Publication]]


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
async def received(broker: Broker) -> AsyncIterator[Received]:
    """What its handler is called with; the broker is started, and stopped after the test."""
    deliveries: Received = []
    await broker.start(lambda channel, publication: deliveries.append((channel, publication)))
    yield deliveries
    await broker.stop()


class TestStart:
    """Promise: "Begin; ``handler`` is called for every publication in a subscribed channel"."""

    async def test_it_is_ready_between_start_and_stop(self, broker: Broker) -> None:
        """Promise: "Whether publications flow"."""
        before = broker.ready()
        await broker.start(lambda _channel, _publication: None)
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
        await broker.start(lambda channel, publication: received.append((channel, publication)))
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


async def _tolerate_unavailable(publishing: Awaitable[Any]) -> None:
    # A broker that was stopped may refuse, or accept for nobody.
    try:
        await publishing
    except BrokerUnavailable:
        return
