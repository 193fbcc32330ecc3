"""Orders to all nodes, and who has answered in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from typing_extensions import override

from ws_gateway.codes import ErrorCode
from ws_gateway.control import cluster as module
from ws_gateway.control.cluster import Cluster
from ws_gateway.control.memory import MemoryBus
from ws_gateway.control.messages import (
    MAX_ANSWER_BYTES,
    Answer,
    DescribeNode,
    Order,
    Question,
    Relayed,
    decode,
    encode,
)
from ws_gateway.exceptions import BrokerUnavailable, ReplyError

ORDER = DescribeNode()
LONG = 30.0
"""A deadline that no test reaches."""


class Wire:
    """What connects buses; a node that is cut off hears nothing."""

    def __init__(self) -> None:
        self.buses: dict[str, WiredBus] = {}

    async def node(
        self,
        name: str,
        perform: Callable[[Order], Awaitable[bytes]],
        *,
        seconds: float = LONG,
    ) -> Cluster:
        """Add a node."""
        self.buses[name] = WiredBus(self)
        cluster = Cluster(self.buses[name], node=name, perform=perform, timeout=seconds)
        await cluster.start()
        return cluster


class WiredBus(MemoryBus):
    """One node's end."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self.sent: list[bytes] = []

    @override
    async def tell_all(self, message: bytes) -> int:
        for bus in self._wire.buses.values():
            if bus._receiver is not None:
                bus._receiver(message)
        return len(self._wire.buses)

    @override
    async def tell(self, node: str, message: bytes) -> bool:
        self.sent.append(message)
        bus = self._wire.buses.get(node)
        if bus is None or bus._receiver is None:
            return False
        bus._receiver(message)
        return True


def says(text: bytes) -> Callable[[Order], Awaitable[bytes]]:
    """Make a node that answers so."""

    async def perform(order: Order) -> bytes:
        assert order == ORDER
        return text

    return perform


async def stuck(_order: Order) -> bytes:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def refuse(_order: Order) -> bytes:
    """Say that it cannot be done."""
    raise ReplyError(ErrorCode.LIMIT_EXCEEDED)


async def break_down(_order: Order) -> bytes:
    """Have a fault of our own."""
    raise RuntimeError("a fault of ours")


async def test_every_node_carries_an_order_out() -> None:
    """The one that gives it is one of them."""
    wire = Wire()
    asking = await wire.node("a", says(b'"a"'))
    await wire.node("b", says(b'"b"'))

    answers = (await asking.ask(ORDER)).require()

    assert {(one.node, one.result) for one in answers} == {("a", b'"a"'), ("b", b'"b"')}
    assert not asking._asked


async def test_who_does_not_answer_in_time_is_missing() -> None:
    """What the others said is there, and it is known not to be all."""
    wire = Wire()
    asking = await wire.node("a", says(b"1"), seconds=0.05)
    slow = await wire.node("b", stuck)

    answers = await asking.ask(ORDER)

    assert [one.node for one in answers.given] == ["a"]
    assert not answers.complete.is_set()
    assert asking.unanswered == 1
    with pytest.raises(ReplyError, match="100"):
        answers.require()
    await slow.stop()


@pytest.mark.parametrize(("perform", "code"), [(refuse, 106), (break_down, 100)])
async def test_one_node_that_fails_fails_the_order(
    perform: Callable[[Order], Awaitable[bytes]], code: int
) -> None:
    """With its error; it has answered all the same."""
    wire = Wire()
    asking = await wire.node("a", says(b"1"))
    await wire.node("b", perform)

    answers = await asking.ask(ORDER)

    assert answers.complete.is_set()
    assert not answers.whole
    assert answers.results == [b"1"]
    with pytest.raises(ReplyError) as raised:
        answers.require()
    assert raised.value.code == code


async def test_without_a_way_to_the_others_it_fails_at_once() -> None:
    """Error 100; nothing is kept of it."""
    wire = Wire()
    asking = await wire.node("a", says(b"1"))
    ready = [asking.ready]
    await asking.stop()
    ready.append(asking.ready)

    with pytest.raises(ReplyError, match="100"):
        await asking.ask(ORDER)

    assert ready == [True, False]
    assert not asking._asked


async def test_an_answer_counts_once_and_only_to_who_asked() -> None:
    """Repeated, late and invented ones are nobody's."""
    wire = Wire()
    heard: list[bytes] = []

    async def perform(_order: Order) -> bytes:
        for _ in range(3):
            await wire.buses["a"].tell("a", encode(Answer(version=1, node="b", number=1)))
        await wire.buses["a"].tell("a", encode(Answer(version=1, node="b", number=99)))
        heard.append(b"")
        return b"1"

    asking = await wire.node("a", perform, seconds=0.2)
    await wire.node("b", stuck)
    await wire.node("c", stuck)

    answers = await asking.ask(ORDER)

    assert heard
    assert sorted(one.node for one in answers.given) == ["a", "b"]
    assert not answers.complete.is_set()


async def test_what_does_not_parse_is_counted_and_dropped() -> None:
    """Whoever can write to Redis can send it."""
    wire = Wire()
    cluster = await wire.node("a", says(b"1"))

    for message in (b"", b"nonsense", b"\x91" * 100_000):
        cluster._receive(message)

    assert cluster.malformed == 3
    assert (await cluster.ask(ORDER)).require()


async def test_too_many_orders_at_once_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted; those at work end with the node."""
    monkeypatch.setattr(module, "_MAX_AT_WORK", 2)
    wire = Wire()
    cluster = await wire.node("a", stuck)
    question = encode(Question(version=1, node="elsewhere", number=1, order=ORDER))

    for _ in range(5):
        cluster._receive(question)

    assert cluster.dropped == 3
    await cluster.stop()
    assert not cluster._working


async def test_an_answer_that_is_too_long_is_an_error() -> None:
    """106, as the asker would drop it."""
    wire = Wire()
    cluster = await wire.node("a", says(b"x" * (MAX_ANSWER_BYTES + 1)))

    with pytest.raises(ReplyError, match="106"):
        (await cluster.ask(ORDER)).require()
    (sent,) = wire.buses["a"].sent
    assert isinstance(decode(sent), Answer)


async def test_an_answer_that_cannot_be_sent_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The asker will find it missing."""
    wire = Wire()
    cluster = await wire.node("a", says(b"1"), seconds=0.05)

    async def fail(_node: str, _message: bytes) -> bool:
        raise BrokerUnavailable

    monkeypatch.setattr(wire.buses["a"], "tell", fail)

    assert not (await cluster.ask(ORDER)).given


async def test_what_a_client_said_elsewhere_reaches_its_node_in_order() -> None:
    """And no other; a node that is not there is told."""
    wire = Wire()
    here = await wire.node("a", says(b"1"))
    there = await wire.node("b", says(b"1"))
    taken: list[Relayed] = []
    there.on_relayed = taken.append
    said = [
        Relayed(version=1, session="s", data=b"%d" % number, binary=True, origin=None)
        for number in range(3)
    ]

    assert [await here.relay("b", one) for one in said] == [True] * 3
    assert not await here.relay("c", said[0])
    assert taken == said


async def test_a_node_without_such_clients_passes_over_what_they_say() -> None:
    """Another may have the fallbacks switched on."""
    wire = Wire()
    alone = await wire.node("a", says(b"1"))

    assert await alone.relay(
        "a", Relayed(version=1, session="s", data=b"", binary=False, origin=None)
    )
    assert alone.malformed == 0
