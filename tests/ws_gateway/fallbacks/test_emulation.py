"""Where a request goes: to a connection here, to another node, or nowhere."""

from __future__ import annotations

import uuid

import pytest
from typing_extensions import override

from tests.ws_gateway.fallbacks.conftest import Line
from ws_gateway.control.cluster import Cluster
from ws_gateway.control.memory import MemoryBus
from ws_gateway.control.messages import Order, Relayed
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.fallbacks.emulation_request import EmulatedCommands

PAGE = "https://app.example.com"
HERE = "11d4ee09-6d5f-4b0b-9a63-0f5c4f3f6a01"
THERE = "22a8c2d4-93c7-4cb4-8a55-7c7f1be0d902"


class Wire(MemoryBus):
    """Two nodes, as far as they can be seen from one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.other: Wire | None = None
        self.away = False
        self.told: list[str] = []

    @override
    def ready(self) -> bool:
        return super().ready() and not self.away

    @override
    async def tell(self, node: str, message: bytes) -> bool:
        self.told.append(node)
        if self.away:
            raise BrokerUnavailable("away")
        if self.other is None or self.other._node != node:
            return False
        assert self.other._receiver is not None
        self.other._receiver(message)
        return True


async def no_orders(_order: Order) -> bytes:
    """Nobody gives any here."""
    raise AssertionError


class Node:
    """A node with nothing but the sessions of the fallbacks."""

    def __init__(self, name: str) -> None:
        self.wire = Wire()
        self.cluster = Cluster(self.wire, node=name, perform=no_orders, timeout=1)
        self.emulation = Emulation(self.cluster)


@pytest.fixture
async def here() -> Node:
    """The node that requests reach; it knows of another one."""
    here, there = Node(HERE), Node(THERE)
    here.wire.other = there.wire
    for node in (here, there):
        await node.cluster.start()
    return here


def request(node: str, session: str = "s") -> EmulatedCommands:
    """Return a request."""
    return EmulatedCommands(node, session, b"{}", False)


async def test_a_session_here_takes_its_commands(here: Node, line: Line) -> None:
    """Another node is not asked."""
    emulation = here.emulation
    recorder = await line.open()
    session = emulation.sessions.add(recorder.transport, kind="sse", origin=PAGE)

    assert await emulation.deliver(request(HERE, session), PAGE)
    assert not await emulation.deliver(request(HERE, session), None)
    assert not await emulation.deliver(request(HERE, "other"), PAGE)
    line.left.set()
    await line.ended()
    assert recorder.events == [("text", b"{}"), ("lost", 1006)]
    assert here.wire.told == []


async def test_other_nodes_are_asked_for_theirs(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the origin, which only they can judge, and in order."""
    taken: list[Relayed] = []
    assert here.wire.other is not None
    monkeypatch.setattr(here.wire.other, "_receiver", None)
    there = Cluster(here.wire.other, node=THERE, perform=no_orders, timeout=1)
    there.on_relayed = taken.append
    await there.start()

    assert await here.emulation.deliver(request(THERE, "a"), PAGE)
    assert await here.emulation.deliver(request(THERE, "b"), None)
    assert not await here.emulation.deliver(request(str(uuid.uuid4())), None)
    assert [(one.session, one.data, one.binary, one.origin) for one in taken] == [
        ("a", b"{}", False, PAGE),
        ("b", b"{}", False, None),
    ]


@pytest.mark.parametrize("name", ["*", "", "x", f"{HERE}:x", f" {THERE}", "A" * 36, "é" * 36])
async def test_what_is_no_name_never_becomes_one_of_a_channel(here: Node, name: str) -> None:
    """It is the client's word."""
    assert not await here.emulation.deliver(request(name), None)
    assert here.wire.told == []


async def test_alone_there_are_no_other_nodes() -> None:
    """In one process; it is ready as soon as it has begun."""
    cluster = Cluster(MemoryBus(), node=HERE, perform=no_orders, timeout=1)
    emulation = Emulation(cluster)
    ready = [emulation.ready]
    await cluster.start()
    ready.append(emulation.ready)

    assert ready == [False, True]
    assert not await emulation.deliver(request(THERE), None)
    await cluster.stop()


async def test_a_bus_that_is_away_is_an_error(here: Node) -> None:
    """It says nothing about the session."""
    here.wire.away = True

    with pytest.raises(BrokerUnavailable):
        await here.emulation.deliver(request(THERE), None)
    assert not here.emulation.ready


async def test_requests_from_other_nodes_are_handed_over(here: Node, line: Line) -> None:
    """By the same rules."""
    recorder = await line.open()
    session = here.emulation.sessions.add(recorder.transport, kind="sse", origin=PAGE)
    assert here.wire.other is not None
    here.wire.other.other = here.wire
    there = Cluster(here.wire.other, node=THERE, perform=no_orders, timeout=1)
    elsewhere = Emulation(there)

    assert await elsewhere.deliver(request(HERE, session), PAGE)
    assert await elsewhere.deliver(request(HERE, session), "https://evil.example")
    assert await elsewhere.deliver(request(HERE, "gone"), PAGE)
    line.left.set()
    await line.ended()

    assert recorder.events == [("text", b"{}"), ("lost", 1006)]
