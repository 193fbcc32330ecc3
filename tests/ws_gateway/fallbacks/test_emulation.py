"""Where a request goes: to a connection here, to another node, or nowhere."""

from __future__ import annotations

import pytest

from tests.ws_gateway.fallbacks.conftest import Line
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.fallbacks.emulation_request import EmulatedCommands
from ws_gateway.fallbacks.relay import RelayHandler

PAGE = "https://app.example.com"


class FakeRelay:
    """Another node, as far as it can be seen from here."""

    def __init__(self) -> None:
        self.ready = False
        self.handler: RelayHandler | None = None
        self.forwarded: list[tuple[EmulatedCommands, str | None]] = []
        self.there = True
        self.error: Exception | None = None

    async def start(self, node: str, handler: RelayHandler) -> None:
        """See Relay."""
        assert node == "here"
        self.handler = handler

    async def stop(self) -> None:
        """See Relay."""
        self.handler = None

    async def forward(self, request: EmulatedCommands, origin: str | None) -> bool:
        """See Relay."""
        if self.error is not None:
            raise self.error
        self.forwarded.append((request, origin))
        return self.there


def request(node: str, session: str = "s") -> EmulatedCommands:
    """Return a request."""
    return EmulatedCommands(node, session, b"{}", False)


async def test_a_session_here_takes_its_commands(line: Line) -> None:
    """Another node is not asked."""
    relay = FakeRelay()
    emulation = Emulation("here", relay)
    recorder = await line.open()
    session = emulation.sessions.add(recorder.transport, kind="sse", origin=PAGE)

    assert await emulation.deliver(request("here", session), PAGE)
    assert not await emulation.deliver(request("here", session), None)
    assert not await emulation.deliver(request("here", "other"), PAGE)
    line.left.set()
    await line.ended()
    assert recorder.events == [("text", b"{}"), ("lost", 1006)]
    assert relay.forwarded == []


async def test_other_nodes_are_asked_for_theirs() -> None:
    """With the origin, which only they can judge."""
    relay = FakeRelay()
    emulation = Emulation("here", relay)

    assert await emulation.deliver(request("there"), PAGE)
    relay.there = False
    assert not await emulation.deliver(request("there"), None)
    assert [origin for _, origin in relay.forwarded] == [PAGE, None]


async def test_without_a_relay_there_are_no_other_nodes() -> None:
    """In one process."""
    emulation = Emulation("here")
    await emulation.start()

    assert emulation.ready
    assert not await emulation.deliver(request("there"), None)
    await emulation.stop()


async def test_a_relay_that_is_away_is_an_error() -> None:
    """It says nothing about the session."""
    relay = FakeRelay()
    relay.error = BrokerUnavailable("away")
    emulation = Emulation("here", relay)

    with pytest.raises(BrokerUnavailable):
        await emulation.deliver(request("there"), None)
    assert not emulation.ready


async def test_requests_from_other_nodes_are_handed_over(line: Line) -> None:
    """By the same rules."""
    relay = FakeRelay()
    emulation = Emulation("here", relay)
    await emulation.start()
    recorder = await line.open()
    session = emulation.sessions.add(recorder.transport, kind="sse", origin=PAGE)
    assert relay.handler is not None
    relay.handler(request("here", session), PAGE)
    relay.handler(request("here", session), "https://evil.example")
    relay.handler(request("here", "gone"), PAGE)
    line.left.set()
    await line.ended()

    assert recorder.events == [("text", b"{}"), ("lost", 1006)]
    await emulation.stop()
    assert relay.handler is None
