"""The promises of Transport, kept by the body of a response."""

from __future__ import annotations

import asyncio

import pytest

from tests.ws_gateway.conftest import settle
from tests.ws_gateway.fallbacks.conftest import Line
from ws_gateway.codes import DisconnectCode
from ws_gateway.fallbacks.framing import EVENTS, LENGTHS
from ws_gateway.frames import BINARY, TEXT, frame
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.codec import PROTOBUF


async def test_frames_become_messages_of_one_body(line: Line) -> None:
    """What is written in one turn leaves in one piece."""
    recorder = await line.open()
    recorder.transport.write(frame(TEXT, b"{}") + frame(TEXT, b'{"a":1}'))
    await settle()
    line.left.set()
    await line.ended()

    assert line.sent[0]["status"] == 200
    assert [message["body"] for message in line.sent[1:]] == [b"", b'{}\n{"a":1}\n']
    assert recorder.events == [("lost", 1006)]


async def test_the_end_is_a_push_behind_what_was_written(line: Line) -> None:
    """And then the body is complete."""
    recorder = await line.open(framing=EVENTS)
    recorder.transport.write(frame(TEXT, b"{}"))
    recorder.transport.close(3001, "shutdown")
    recorder.transport.close(3005, "ignored")
    await line.ended()

    assert line.body == (
        b'\r\ndata: {}\n\ndata: {"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}\n\n'
    )
    assert [message["more_body"] for message in line.sent[1:]] == [True, True, False]


async def test_the_end_is_said_in_the_clients_encoding(line: Line) -> None:
    """A Protobuf client could make nothing of the other."""
    recorder = await line.open(codec=PROTOBUF, framing=LENGTHS)
    recorder.transport.write(frame(BINARY, b"\0"))
    recorder.transport.close(3500, "invalid token")
    await line.ended()

    ping, length, push = line.body[:1], line.body[1], line.body[2:]
    assert (ping, length) == (b"\0", len(push))
    assert pb.Reply.FromString(push).push.disconnect.code == 3500


async def test_abort_waits_for_nobody_and_sends_nothing(line: Line) -> None:
    """The server is told to cut the socket."""
    recorder = await line.open()
    line.reads.clear()
    recorder.transport.write(frame(TEXT, b"{}"))
    await settle()
    recorder.transport.abort()
    await line.ended()

    assert line.body == b""
    assert line.cuts == 1
    assert recorder.transport.was_cut
    assert recorder.events == [("lost", 1006)]


async def test_stall_and_its_end_are_told(line: Line) -> None:
    """Past 64 KiB that wait, each once."""
    recorder = await line.open()
    line.reads.clear()
    for _ in range(8):
        recorder.transport.write(frame(TEXT, b"x" * 16_384))
    await settle()
    waiting = recorder.transport.buffered()
    line.reads.set()
    await settle()
    line.left.set()
    await line.ended()

    assert waiting == 8 * 16_384
    assert recorder.events == [("stalled", None), ("drained", None), ("lost", 1006)]
    assert max(len(message["body"]) for message in line.sent[1:]) <= 64 * 1024 + 8


async def test_messages_of_the_client_are_handed_on(line: Line) -> None:
    """Until the connection has ended."""
    recorder = await line.open()
    recorder.transport.take(b"{}", binary=False)
    recorder.transport.take(b"\0", binary=True)
    recorder.transport.close(3001, "shutdown")
    recorder.transport.take(b"late", binary=False)
    await line.ended()
    recorder.transport.take(b"later", binary=False)

    assert recorder.events == [("text", b"{}"), ("binary", b"\0"), ("lost", 1006)]


async def test_before_there_is_a_connection_nothing_is_taken(line: Line) -> None:
    """Nobody knows its session yet."""
    transport = line.transport()
    transport.take(b"{}", binary=False)

    assert transport.receiver is None


@pytest.mark.parametrize("size", [0, 100])
async def test_a_connection_that_does_not_keep_up_is_ended(line: Line, size: int) -> None:
    """Empty messages cost something too; who was let go on in time begins anew."""
    recorder = await line.open(max_kept_bytes=1000)
    transport = recorder.transport
    for _ in range(3):
        transport.pause_reading()
        for _ in range(5):
            transport.take(b"x" * size, binary=False)
        transport.resume_reading()
    assert len(recorder.events) == 15

    transport.pause_reading()
    for _ in range(20):
        transport.take(b"x" * size, binary=False)
    await line.ended()

    assert ("failed", DisconnectCode.TOO_MANY_REQUESTS) in recorder.events
    assert len([kind for kind, _ in recorder.events if kind == "text"]) - 15 < 20


async def test_a_cancelled_response_is_lost(line: Line) -> None:
    """As a server does when it stops."""
    recorder = await line.open()
    assert line.task is not None
    line.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await line.ended()

    assert recorder.events == [("lost", 1006)]
    assert asyncio.all_tasks() == {asyncio.current_task()}
