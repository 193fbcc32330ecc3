"""What every bus promises to a node that is alone."""

from __future__ import annotations

import pytest

from tests.ws_gateway.broker.conftest import until
from tests.ws_gateway.control.conftest import Make
from ws_gateway.exceptions import BrokerUnavailable


async def test_what_is_for_all_reaches_the_sender_too(make: Make) -> None:
    """And it is told how many there are."""
    node = make("a")
    await node.start()

    assert await node.bus.tell_all(b"hello") == 1
    await until(lambda: node.messages)

    assert node.messages == [b"hello"]


async def test_what_is_for_one_reaches_that_one(make: Make) -> None:
    """A node that is not there is none."""
    node = make("a")
    await node.start()

    assert await node.bus.tell("a", b"yours")
    assert not await node.bus.tell("b", b"another's")
    await until(lambda: node.messages)

    assert node.messages == [b"yours"]


async def test_nothing_is_said_before_the_start_or_after_the_end(make: Make) -> None:
    """Nobody hears it, and the sender knows."""
    node = make("a")
    assert not node.bus.ready()
    with pytest.raises(BrokerUnavailable):
        await node.bus.tell_all(b"early")
    await node.start()

    await node.bus.stop()

    assert not node.bus.ready()
    assert node.messages == []
