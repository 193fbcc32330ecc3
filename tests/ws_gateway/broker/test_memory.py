"""What is special about the embedded broker: it never waits."""

from __future__ import annotations

import pytest
from msgspec import Raw

from tests.ws_gateway.conftest import steps
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import Publication


async def test_it_delivers_before_publish_returns() -> None:
    """So that a publisher sees its own publication before the reply, as with Centrifugo."""
    order: list[str] = []
    broker = MemoryBroker()
    await broker.start(lambda _channel, _publication, _link, _at: order.append("delivered"))
    await broker.subscribe("news")

    await broker.publish("news", Publication(data=Raw(b"1")))
    order.append("returned")

    assert order == ["delivered", "returned"]


async def test_after_stop_nothing_is_accepted() -> None:
    """A publication that nobody will get must not be acknowledged."""
    broker = MemoryBroker()
    await broker.start(lambda _channel, _publication, _link, _at: None)
    await broker.subscribe("news")

    await broker.stop()

    assert not broker.subscribed("news")
    with pytest.raises(BrokerUnavailable):
        await broker.publish("news", Publication(data=Raw(b"1")))


async def test_it_never_suspends() -> None:
    """A command that waits for nothing needs no task of its own."""
    broker = MemoryBroker()
    await broker.start(lambda _channel, _publication, _link, _at: None)

    assert steps(broker.subscribe("news")) == 0
    assert steps(broker.publish("news", Publication(data=Raw(b"1")))) == 0


async def test_publication_is_handed_on_as_it_is() -> None:
    """One object for every subscriber of the process; nothing is copied."""
    received: list[Publication] = []
    broker = MemoryBroker()
    await broker.start(lambda _channel, publication, _link, _at: received.append(publication))
    await broker.subscribe("news")
    sent = Publication(data=Raw(b"1"))

    await broker.publish("news", sent)

    assert received[0] is sent


async def test_channels_that_were_given_up_leave_nothing() -> None:
    """No map grows without bound (design section 4)."""
    broker = MemoryBroker()
    await broker.start(lambda _channel, _publication, _link, _at: None)
    for number in range(1000):
        await broker.subscribe(f"room:{number}")
        broker.unsubscribe(f"room:{number}")
        await broker.publish(f"room:{number}", Publication(data=Raw(b"1")))

    assert not broker._channels
