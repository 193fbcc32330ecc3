"""The embedded bus."""

from __future__ import annotations

import pytest

from ws_gateway.control.memory import MemoryBus
from ws_gateway.exceptions import BrokerUnavailable


async def test_it_delivers_before_it_returns() -> None:
    """There is nothing to wait for."""
    heard: list[bytes] = []
    bus = MemoryBus()
    await bus.start("a", heard.append)

    await bus.tell_all(b"1")

    assert heard == [b"1"]


async def test_after_the_end_nothing_can_be_said() -> None:
    """Neither to all nor to one."""
    bus = MemoryBus()
    await bus.start("a", lambda _message: None)
    await bus.stop()

    with pytest.raises(BrokerUnavailable):
        await bus.tell_all(b"1")
    with pytest.raises(BrokerUnavailable):
        await bus.tell("a", b"1")
