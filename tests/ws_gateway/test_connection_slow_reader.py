"""A connection whose client does not read what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.ws_gateway.commands import (
    MakeCredentials,
    publish,
    resume,
    subscribe,
)
from tests.ws_gateway.conftest import WALL_TIME, Gateway, settle
from ws_gateway.credentials import Credentials


def payloads(replies: list[Any]) -> list[Any]:
    """Return the data of publications, and the channel and code of ends."""
    pushes = [reply["push"] for reply in replies if "push" in reply]
    return [
        push["pub"]["data"] if "pub" in push else (push["channel"], push["unsubscribe"]["code"])
        for push in pushes
    ]


DROPPING = """
[namespaces.drop]
slow_reader = "drop"
allow_subscribe_for_client = true
allow_publish_for_client = true
history_size = 10
history_ttl = "60s"
force_recovery = true

[namespaces.keep]
allow_subscribe_for_client = true
allow_publish_for_client = true
"""


@pytest.fixture
async def dropping(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway in some of whose channels slow readers may lose publications."""
    return make_gateway(channels=DROPPING)


class TestSlowReader:
    """Promise 3: a bounded number of bytes and seconds, and never another's delay."""

    async def test_too_many_bytes_are_3008(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Aborted: a close frame would only queue behind them."""
        slow, other = await gateway.connect(alice), await gateway.connect(bob)
        for peer in (slow, other):
            await peer.ask(subscribe("news"))
        slow.connection.stalled()
        slow.transport.unread = 10_001

        gateway.publish("news", 1)

        assert len(await other.receive()) == 1
        assert slow.transport.aborted
        assert slow.closed is None
        assert gateway.node.metrics.disconnects == {3008: 1}
        assert gateway.node.metrics.queues_dropped == {"bytes": 1}
        gateway.publish("news", 2)
        assert len(await other.receive()) == 1
        assert gateway.node.hub.subscriptions == 2

    async def test_too_long_a_stall_is_3008(self, gateway: Gateway, alice: Credentials) -> None:
        """Also if nothing more is written."""
        peer = await gateway.connect(alice)
        peer.connection.stalled()

        aborted = []
        for seconds in (4.9, 0.3):
            await gateway.advance(seconds)
            aborted.append(peer.transport.aborted)

        assert aborted == [False, True]
        assert gateway.node.metrics.disconnects == {3008: 1}
        assert gateway.node.metrics.queues_dropped == {"stall": 1}

    async def test_reader_that_catches_up_is_forgiven(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """As often as it does so in time."""
        peer = await gateway.connect(alice)
        for _ in range(4):
            peer.connection.stalled()
            await gateway.advance(2)
            peer.connection.drained()
            await gateway.advance(0.1)
        peer.transport.unread = 1_000_000
        gateway.publish("dm:#alice", 1)

        assert len(await peer.receive()) == 1
        assert not peer.transport.aborted

    async def test_stall_does_not_delay_the_connections_other_times(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Whichever comes first."""
        peer = await gateway.connect(make_credentials(expires_at=WALL_TIME + 3))
        peer.connection.stalled()

        await gateway.advance(3.2)

        assert peer.closed == 3005

    async def test_close_of_a_slow_reader_is_an_abort(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """What is flushed before the close frame finds the buffer full."""
        peer = await gateway.connect(alice)
        peer.connection.stalled()
        peer.transport.unread = 10_001
        gateway.publish("dm:#alice", 1)

        await gateway.node.drain(0)

        assert peer.transport.aborted
        assert peer.closed is None
        assert gateway.node.metrics.disconnects == {3008: 1}

    async def test_its_commands_in_flight_are_given_up(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Nothing of it remains."""
        peer = await gateway.connect(alice)
        gateway.broker.held = True
        peer.send(subscribe("news"))
        peer.connection.stalled()

        await gateway.advance(5.2)
        gateway.broker.release()
        await settle()

        assert gateway.broker.channels == set()

    async def test_peer_that_may_lose_publications_is_told_of_the_gap(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """2500 for that channel, behind what it was sent before; it recovers all it missed."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        (reply,) = await slow.ask(subscribe("drop:a"))
        await slow.ask(subscribe("drop:silent"))
        await other.ask(subscribe("drop:a"))
        slow.connection.stalled()
        slow.transport.unread = 10_001

        got = []
        for number in range(4):
            await other.ask(publish("drop:a", number))
            got += payloads(await slow.receive())
        slow.transport.unread = 0
        slow.connection.drained()
        epoch = reply["subscribe"]["epoch"]
        (back,) = await slow.ask(resume("drop:a", 1, epoch))
        await other.ask(publish("drop:a", 4), publish("drop:silent", 5))

        assert got == [0, ("drop:a", 2500)]
        assert back["subscribe"]["recovered"] is True
        assert [one["data"] for one in back["subscribe"]["publications"]] == [1, 2, 3]
        assert payloads(await slow.receive()) == [4, 5]
        assert dropping.node.metrics.disconnects == {}
        registry = dropping.node.metrics.registry
        assert registry.get_sample_value("gateway_subscriptions_dropped_total") == 1

    async def test_what_it_may_not_lose_still_ends_it(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Once more the same bytes, and no further."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        for peer in (slow, other):
            await peer.ask(subscribe("drop:a"), subscribe("keep:a"))
        slow.connection.stalled()
        aborted = []
        for unread in (10_001, 20_001, 20_002):
            slow.transport.unread = unread
            await other.ask(publish("keep:a", 1))
            aborted.append(slow.transport.aborted)

        assert aborted == [False, False, True]
        assert dropping.node.metrics.queues_dropped == {"bytes": 1}

    async def test_nor_does_it_get_more_than_the_same_seconds_again(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """One that is dead is cut although nothing more is sent to it."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        for peer in (slow, other):
            await peer.ask(subscribe("drop:a"))
        slow.connection.stalled()
        await dropping.advance(4)
        slow.transport.unread = 10_001
        aborted = []
        for seconds in (4.9, 0.3):
            await other.ask(publish("drop:a", 1))
            await dropping.advance(seconds)
            aborted.append(slow.transport.aborted)

        assert aborted == [False, True]
        assert dropping.node.metrics.queues_dropped == {"stall": 1}

    async def test_one_that_subscribes_again_unread_is_cut(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Else it could have the gateway keep any number of bytes for it."""
        slow, other = await dropping.connect(alice), await dropping.connect(bob)
        await other.ask(subscribe("drop:a"))
        await slow.ask(subscribe("drop:a"))
        slow.connection.stalled()
        slow.transport.unread = 10_001
        await other.ask(publish("drop:a", 1), publish("drop:a", 2))
        slow.send(subscribe("drop:a"))
        slow.transport.unread = 20_002

        await other.ask(publish("drop:a", 3))

        assert slow.transport.aborted

    async def test_one_stuck_reader_changes_nothing_for_the_others(
        self, dropping: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Each publication is one write to each of them, in the turn in which it came."""
        writes = []
        for stuck in (False, True):
            others = [await dropping.connect(bob) for _ in range(5)]
            slow = await dropping.connect(alice)
            for peer in (slow, *others):
                await peer.ask(subscribe("drop:a"), subscribe("keep:a"))
                peer.transport.writes.clear()
            if stuck:
                slow.connection.stalled()
                slow.transport.unread = 10_001
            for channel in ("drop:a", "keep:a", "drop:a", "keep:a"):
                dropping.publish(channel, 1)
                await asyncio.sleep(0)
                writes.append([len(peer.transport.writes) for peer in others])
            for peer in (slow, *others):
                peer.connection.lost(1006)

        assert writes == [[count] * 5 for count in (1, 2, 3, 4)] * 2
