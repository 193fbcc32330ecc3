"""What nodes say to each other, as bytes."""

from __future__ import annotations

import msgspec
import pytest

from ws_gateway.control.messages import (
    MAX_BYTES,
    Answer,
    DescribeNode,
    Disconnect,
    ListChannels,
    ListCloses,
    ListConnections,
    Order,
    Question,
    Refresh,
    Relayed,
    ShowConnection,
    Subscribe,
    Target,
    Unsubscribe,
    decode,
    encode,
)

TARGET = Target(user="alice", client="c", session="s", keep=("a", "b"))
ORDERS: list[Order] = [
    Disconnect(target=TARGET, code=3503, reason="words"),
    Subscribe(
        target=TARGET,
        channel="room",
        info=b'"i"',
        data=b"1",
        override=(("presence", True),),
        expire_at=7,
        since=(2**64 - 1, "e"),
    ),
    Unsubscribe(target=TARGET, channel=""),
    Refresh(target=TARGET, expire_at=2**40),
    DescribeNode(),
    ListChannels(pattern="*", limit=1),
    ListConnections(user=None, after="", limit=3),
    ShowConnection(client="c"),
    ListCloses(user="", code=0, limit=2),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_an_order_is_read_as_it_was_written(order: Order) -> None:
    """With its question around it."""
    question = Question(version=1, node="n", number=5, order=order)

    assert decode(encode(question)) == question


def test_an_answer_is_read_as_it_was_written() -> None:
    """An error, or a result."""
    for answer in (
        Answer(version=1, node="n", number=5, code=106),
        Answer(version=1, node="n", number=5, result=b"{}"),
    ):
        assert decode(encode(answer)) == answer


@pytest.mark.parametrize("origin", [None, "https://app.example.com"])
def test_what_a_client_said_is_read_as_it_was_written(origin: str | None) -> None:
    """Bytes, and as long as any message of a client may be."""
    for data in (b"\x00{}\xff", bytes(2**24)):
        said = Relayed(version=1, session="s", data=data, binary=True, origin=origin)

        assert decode(encode(said)) == said


def test_a_field_more_is_passed_over() -> None:
    """A newer gateway may say more than an older one knows."""
    newer = msgspec.msgpack.encode(["ask", 1, "n", 5, ["connection", "c", "new"], "new"])

    assert decode(newer) == Question(
        version=1, node="n", number=5, order=ShowConnection(client="c")
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"hello",
        msgspec.msgpack.encode(["ask", 2, "n", 5, ["node"]]),
        msgspec.msgpack.encode(["ask", 1, "n", 5, ["explode"]]),
        msgspec.msgpack.encode(["ask", 1, "n", "5", ["node"]]),
        msgspec.msgpack.encode(["ask", 1, "n"]),
        msgspec.msgpack.encode(["relayed", 2, "s", b"", False, None]),
        msgspec.msgpack.encode(["tell", 1, "n", 5, ["node"]]),
        msgspec.msgpack.encode({"ask": 1}),
        b"\x91" * 100_000,
        bytes(MAX_BYTES + 1),
        *(
            msgspec.msgpack.encode(["ask", 1, "n", 5, order])
            for order in (
                ["disconnect", ["alice"], 99_999, "no such code"],
                ["disconnect", ["alice"], 2999, "not ours to send"],
                ["disconnect", ["alice"], -1, "words"],
                ["refresh", ["alice"], -1],
                ["subscribe", ["alice"], "room", b"", b"", [], -1],
                ["subscribe", ["alice"], "room", b"", b"", [], 0, [-1, "e"]],
                ["channels", "", -1],
                ["connections", None, "", -1],
                ["closes", None, 0, -1],
            )
        ),
    ],
    ids=range(21),
)
def test_what_is_none_of_ours_is_refused(message: bytes) -> None:
    """Another version, an unknown order, a wrong type or number, too few fields, too much."""
    with pytest.raises((ValueError, RecursionError)):
        decode(message)
