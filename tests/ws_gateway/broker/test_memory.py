"""What is special about the embedded broker: it never waits."""

from __future__ import annotations

import pytest
from msgspec import Raw

from tests.ws_gateway.conftest import steps
from ws_gateway.broker.base import PublishOptions
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


async def test_what_nobody_reads_any_more_is_forgotten_in_time() -> None:
    """Also in a channel that nobody touches again, long before its position is."""
    clock = [0.0]
    broker = MemoryBroker(clock=lambda: clock[0])
    await broker.start(lambda _channel, _publication, _link, _at: None)
    minute = PublishOptions(history_size=10, history_ttl=60)
    kept = broker._streams
    for channel in ("left", "renewed", "left too"):
        await broker.publish(channel, Publication(data=Raw(b"1")), minute)
    clock[0] = 50
    await broker.publish("renewed", Publication(data=Raw(b"2")), minute)

    clock[0] = 70
    await broker.publish("another", Publication(data=Raw(b"3")), minute)
    after_a_minute = {channel: len(stream.kept) for channel, stream in kept.items()}
    clock[0] = 120
    await broker.publish("another", Publication(data=Raw(b"4")), minute)
    after_two = {channel: len(stream.kept) for channel, stream in kept.items()}

    assert after_a_minute == {"left": 0, "left too": 0, "renewed": 2, "another": 1}
    assert after_two == {"left": 0, "left too": 0, "renewed": 0, "another": 2}


async def test_streams_that_made_room_leave_nothing() -> None:
    """However many channels were published into before the time of the first is over."""
    broker = MemoryBroker(clock=lambda: 0.0, max_streams=10)
    await broker.start(lambda _channel, _publication, _link, _at: None)

    for number in range(100):
        options = PublishOptions(history_size=1, history_ttl=60)
        await broker.publish(f"room:{number}", Publication(data=Raw(b"1")), options)

    assert len(broker._streams) == 10
    assert len(broker._due) <= 21


async def test_channels_that_were_given_up_leave_nothing() -> None:
    """No map grows without bound (design section 4)."""
    broker = MemoryBroker()
    await broker.start(lambda _channel, _publication, _link, _at: None)
    for number in range(1000):
        await broker.subscribe(f"room:{number}")
        broker.unsubscribe(f"room:{number}")
        await broker.publish(f"room:{number}", Publication(data=Raw(b"1")))

    assert not broker._channels
