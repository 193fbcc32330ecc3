"""How a process drains: everybody is asked to come back elsewhere, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.ws_gateway.conftest import Gateway, Peer, settle
from ws_gateway.credentials import Credentials


class Pauses:
    """Stands for the pauses of a drain: time passes at once, and something happens in each."""

    def __init__(self, gateway: Gateway) -> None:
        self.lengths: list[float] = []
        self.during: Callable[[], object] = lambda: None
        self._gateway = gateway

    async def __call__(self, seconds: float, _hurry: asyncio.Event | None) -> None:
        """See ``drain._pause``."""
        self.lengths.append(seconds)
        self._gateway.loop.advance(seconds)
        self.during()
        await settle()


@pytest.fixture
def pauses(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """A drain that takes no time."""
    replaced = Pauses(gateway)
    monkeypatch.setattr("ws_gateway.drain._pause", replaced)
    return replaced


def open_peers(gateway: Gateway, count: int) -> list[Peer]:
    """Open a crowd."""
    return [gateway.open() for _ in range(count)]


class TestDrain:
    """3001 in paced batches, so that the others are not overrun (design section 3)."""

    async def test_not_ready_while_draining(self, gateway: Gateway, pauses: Pauses) -> None:
        """New handshakes are refused from the first moment."""
        open_peers(gateway, 2)
        ready: list[bool] = []
        pauses.during = lambda: ready.append(gateway.node.ready)

        await gateway.node.drain(1)

        assert ready
        assert not any(ready)
        assert gateway.node.draining

    async def test_everybody_is_told_3001(self, gateway: Gateway) -> None:
        """At once where no time is given, and without a pause."""
        peers = open_peers(gateway, 5)

        await gateway.node.drain(0)

        assert [peer.closed for peer in peers] == [3001] * 5
        assert gateway.node.metrics.disconnects == {3001: 5}

    async def test_what_is_queued_is_flushed_first(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Nothing that was accepted for delivery is lost."""
        peer = await gateway.connect(alice)
        gateway.publish("dm:#alice", "last")

        await gateway.node.drain(0)

        assert b'"last"' in peer.transport.writes[-1]
        assert peer.closed == 3001

    async def test_it_takes_the_time_it_is_given(self, gateway: Gateway, pauses: Pauses) -> None:
        """By the loop's clock."""
        peers = open_peers(gateway, 100)

        await gateway.node.drain(2)

        assert sum(pauses.lengths) == pytest.approx(2, abs=0.1)
        assert all(peer.closed == 3001 for peer in peers)

    async def test_a_command_that_is_performed_is_answered(
        self, gateway: Gateway, pauses: Pauses, alice: Credentials
    ) -> None:
        """Who has published knows what became of it."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send({"id": 3, "publish": {"channel": "dm:#alice", "data": 1}})
        pauses.during = gateway.broker.release

        await gateway.node.drain(1)

        assert {"id": 3, "publish": {}} in await peer.receive()
        assert peer.closed == 3001

    async def test_hurry_ends_a_pause(self, gateway: Gateway) -> None:
        """It is not waited out."""
        peers = open_peers(gateway, 3)
        hurry = asyncio.Event()
        draining = asyncio.create_task(gateway.node.drain(1e9, hurry))
        await settle()
        told = [peer.closed for peer in peers]

        hurry.set()
        await draining

        assert sorted(map(str, told)) == ["3001", "None", "None"]
        assert [peer.closed for peer in peers] == [3001] * 3

    async def test_one_that_leaves_meanwhile_is_not_told(
        self, gateway: Gateway, pauses: Pauses
    ) -> None:
        """Nor counted twice."""
        peers = open_peers(gateway, 2)

        def leave() -> None:
            for peer in peers:
                if peer.closed is None:
                    peer.connection.lost(1000)

        pauses.during = leave

        await gateway.node.drain(10)

        assert sorted(map(str, (peer.closed for peer in peers))) == ["3001", "None"]
        assert gateway.node.metrics.disconnects == {3001: 1, 1000: 1}

    async def test_one_that_joins_meanwhile_is_told_too(
        self, gateway: Gateway, pauses: Pauses, alice: Credentials
    ) -> None:
        """Its handshake was on its way when the drain began: no close without a code."""
        open_peers(gateway, 2)
        late: list[Peer] = []
        pauses.during = lambda: late.append(gateway.open(alice))

        await gateway.node.drain(10)
        await settle()

        assert [peer.closed for peer in late] == [3001] * 2

    async def test_one_that_joins_afterwards_is_told_too(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The process has not exited yet."""
        await gateway.node.drain(0)

        peer = gateway.open(alice)
        peer.send({"id": 1, "connect": {}})
        await settle()

        assert peer.closed == 3001

    async def test_drain_of_nobody_ends_at_once(self, gateway: Gateway, pauses: Pauses) -> None:
        """Whatever the time it was given."""
        await gateway.node.drain(30)

        assert pauses.lengths == []
