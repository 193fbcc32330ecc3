"""An open WebSocket: messages, its ends, and peers that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import connect as reference_connect

from tests.ws_gateway.raw_server import (
    MASK,
    PATIENCE,
    Recorder,
    masked,
    on_uvloop,
    serving,
    until,
)
from ws_gateway import server
from ws_gateway.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from ws_gateway.sockets import Socket


class TestMessages:
    """RFC 6455 sections 5 and 8, on the wire."""

    @on_uvloop
    async def test_messages_go_both_ways(self) -> None:
        """Text and binary, each as it is."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(TEXT, "größer".encode()), masked(BINARY, b"\xff\x00"))
            await recorder.until("binary")
            recorder.transport.write(frame(TEXT, b"a") + frame(BINARY, b"b" * 70_000))

            assert recorder.events == [("text", "größer".encode()), ("binary", b"\xff\x00")]
            assert await client.frame() == (TEXT, b"a")
            assert await client.frame() == (BINARY, b"b" * 70_000)

    @on_uvloop
    async def test_ping_is_answered_with_its_payload(self) -> None:
        """Section 5.5.3; and it is a sign of life."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(PING, b"payload"))

            assert await client.frame() == (PONG, b"payload")
            assert recorder.events == [("seen", None)]

    @on_uvloop
    async def test_unasked_pong_is_a_sign_of_life(self) -> None:
        """Section 5.5.3: no answer is expected."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(PONG), masked(PING, b"after"))

            assert await client.frame() == (PONG, b"after")
            assert len(recorder.all("seen")) == 2

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            pytest.param([frame(TEXT, b"a")], 1002, id="unmasked"),
            pytest.param([b"\xc1\x80" + MASK], 1002, id="RSV1"),
            pytest.param([b"\x83\x80" + MASK], 1002, id="opcode 3"),
            pytest.param([b"\x89\xfe\x00\x7e" + MASK], 1002, id="long ping"),
            pytest.param([masked(PING, fin=False)], 1002, id="fragmented ping"),
            pytest.param([masked(CONTINUATION, b"a")], 1002, id="continuation first"),
            pytest.param([masked(TEXT, b"a", fin=False), masked(TEXT)], 1002, id="text inside"),
            pytest.param([masked(CLOSE, b"\x03")], 1002, id="close of one byte"),
            *(
                pytest.param([masked(CLOSE, code.to_bytes(2))], 1002, id=f"close {code}")
                for code in (999, 1005, 65_535)
            ),
            pytest.param([masked(CLOSE, b"\x03\xe8\xff")], 1007, id="close reason"),
            pytest.param([masked(TEXT, b"\xff")], 1007, id="text"),
            pytest.param(
                [masked(TEXT, "\ud800".encode("utf-8", "surrogatepass"))], 1007, id="lone"
            ),
            pytest.param(
                [masked(TEXT, b"\xc3", fin=False), masked(CONTINUATION, b"x")], 1007, id="split"
            ),
            pytest.param([b"\x81\xff" + (2**40).to_bytes(8)], 1009, id="2^40"),
            pytest.param([b"\x81\xff" + (2**63).to_bytes(8)], 1009, id="2^63"),
            pytest.param(
                [masked(TEXT, b"x" * 60_000, fin=False), masked(CONTINUATION, b"x" * 5_537)],
                1009,
                id="sum of fragments",
            ),
        ],
    )
    @on_uvloop
    async def test_fault_is_told_by_its_code(self, frames: list[bytes], code: int) -> None:
        """W9, W10, W11; once, and nothing behind the fault is read."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(*frames, masked(TEXT, b"behind"))

            assert await client.closed() == code
            client.hang_up()
            await recorder.until("lost")
            assert recorder.all("failed") == [code]
            assert recorder.all("text") == []
            assert recorder.events[-1][0] == "lost"

    @on_uvloop
    async def test_character_split_over_fragments_is_accepted(self) -> None:
        """Section 5.6: the whole message is UTF-8."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(TEXT, b"\xc3", fin=False), masked(CONTINUATION, b"\xb6"))

            assert await recorder.until("text") == ["ö".encode()]

    @on_uvloop
    async def test_reading_can_be_paused(self) -> None:
        """What the connection cannot take stays in the kernel, until it can."""
        async with serving() as running:
            client, recorder = await running.open()
            recorder.transport.pause_reading()
            recorder.transport.pause_reading()
            client.send(masked(TEXT, b"a"))
            await asyncio.sleep(0.02)
            assert recorder.events == []
            recorder.transport.resume_reading()
            recorder.transport.resume_reading()

            assert await recorder.until("text") == [b"a"]

    @on_uvloop
    async def test_reference_client_is_served(self) -> None:
        """An independent implementation finds nothing wrong."""
        async with serving() as running:
            url = f"ws://127.0.0.1:{running.port}/socket"
            async with reference_connect(url) as client:
                recorder = await running.app.connections.get()
                await client.send("größer")
                await client.send([b"in ", b"pieces"])
                await asyncio.wait_for(await client.ping(), 5)
                recorder.transport.write(frame(TEXT, b"a") * 3)
                received = [await client.recv() for _ in range(3)]
                recorder.transport.close(3001, "shutdown")
                with pytest.raises(websockets.ConnectionClosedError) as caught:
                    await client.recv()

            assert received == ["a"] * 3
            assert caught.value.rcvd == websockets.Close(3001, "shutdown")
            assert recorder.events[0] == ("text", "größer".encode())
            assert ("binary", b"in pieces") in recorder.events
            assert await recorder.until("lost") == [3001]


class TestClosing:
    """RFC 6455 sections 5.5.1 and 7."""

    @pytest.mark.parametrize(
        ("payload", "told", "answered"),
        [
            (b"\x03\xe8bye", 1000, b"\x03\xe8"),
            (b"\x0f\xa0", 4000, b"\x0f\xa0"),
            (b"", 1005, b"\x03\xe8"),
        ],
    )
    @on_uvloop
    async def test_close_of_the_client_is_answered(
        self, payload: bytes, told: int, answered: bytes
    ) -> None:
        """With its own code; then the server hangs up first (section 7.1.1)."""
        async with serving() as running:
            client, recorder = await running.open()
            client.send(masked(CLOSE, payload), masked(TEXT, b"behind"), masked(CLOSE, payload))

            assert await client.frame() == (CLOSE, answered)
            assert await client.reader.read() == b""
            await until(lambda: len(server.closing_sockets(running.state)) == 0)
            assert recorder.events == [("lost", told)]

    @on_uvloop
    async def test_close_of_the_server_is_flushed_and_waited_for(self) -> None:
        """What was written comes first; what the client says meanwhile does not count."""
        async with serving() as running:
            client, recorder = await running.open()
            recorder.transport.write(frame(TEXT, b"last"))
            recorder.transport.close(3001, "shutdown")
            recorder.transport.close(3005, "ignored")
            client.send(masked(TEXT, b"late"), masked(PING))

            assert await client.frame() == (TEXT, b"last")
            assert await client.frame() == (CLOSE, b"\x0b\xb9shutdown")
            client.send(masked(CLOSE, b"\x0b\xb9"))
            assert await client.reader.read() == b""
            await recorder.until("lost")
            assert recorder.events == [("lost", 3001)]

    @on_uvloop
    async def test_vanished_client_is_1006(self) -> None:
        """Section 7.1.5."""
        async with serving() as running:
            client, recorder = await running.open()
            client.hang_up()

            assert await recorder.until("lost") == [1006]

    @on_uvloop
    async def test_half_closed_client_is_gone(self) -> None:
        """A WebSocket does not go on in one direction."""
        async with serving() as running:
            client, recorder = await running.open()
            client._writer.write_eof()

            assert await recorder.until("lost") == [1006]
            assert await client.reader.read() == b""

    @on_uvloop
    async def test_abort_cuts_at_once(self) -> None:
        """No close frame: the peer does not read anyway."""
        async with serving() as running:
            client, recorder = await running.open()
            recorder.transport.abort()
            await client.hung_up()

            assert await recorder.until("lost") == [1006]

    def test_client_that_never_answers_a_close_is_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Section 7.1.1 lets a server hang up; the deadline is ours."""
        monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client, recorder = await running.open()
                recorder.transport.close(3001, "shutdown")
                closing = server.closing_sockets(running.state)
                assert len(closing) == 1
                await closing.none()

                assert await recorder.until("lost") == [1006]
                assert await client.closed() == 3001

        run()

    def test_paused_client_that_is_closed_is_read_again(self) -> None:
        """Else its close frame would never be seen."""

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client, recorder = await running.open()
                recorder.transport.pause_reading()
                recorder.transport.close(3001, "shutdown")
                client.send(masked(CLOSE, b"\x0b\xb9"))

                assert await recorder.until("lost") == [3001]

        run()

    def test_code_arrives_although_the_client_goes_on_sending(
        self, either: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Closing with unread data resets the connection, and loses the code (RFC 9293 3.10.4)."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.2)
        lingering = asyncio.Event()

        @on_uvloop
        async def run() -> None:
            async with serving(either) as running:
                client, recorder = await running.open()

                async def send_on() -> None:
                    with contextlib.suppress(ConnectionError):
                        while True:
                            client.send(masked(BINARY, b"x" * 60_000))
                            await client._writer.drain()
                            lingering.set()

                client.send(frame(TEXT, b"not masked"))
                sending = asyncio.create_task(send_on())
                await recorder.until("failed")
                lingering.clear()
                await lingering.wait()

                assert await client.closed() == 1002
                await client.hung_up()
                sending.cancel()
                assert len(await recorder.until("lost")) == 1
                assert recorder.all("binary") == []

        run()

    def test_client_that_broke_the_framing_is_hung_up_on_once_it_has_heard_the_code(
        self, either: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Section 7.1.1: the server does it first, and no socket is kept for a second."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", PATIENCE)
        monkeypatch.setattr(server, "_CLOSE_SECONDS", PATIENCE)

        @on_uvloop
        async def run() -> None:
            async with serving(either) as running:
                client, recorder = await running.open()
                client.send(frame(TEXT, b"not masked"))
                assert await client.closed() == 1002
                lingering = running.state.__dict__["drawbridge_lingering"]
                assert len(lingering) == 1
                client.send(masked(CLOSE, b"\x03\xea"))

                assert await client.reader.read() == b""
                assert await recorder.until("lost") == [1006]
                assert len(lingering) == len(server.closing_sockets(running.state)) == 0

        run()

    def test_client_that_broke_the_framing_is_hung_up_on(
        self, either: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lingering is bounded, and leaves no deadline behind."""
        monkeypatch.setattr(server, "_LINGER_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving(either) as running:
                client, recorder = await running.open()
                client.send(frame(TEXT, b"not masked"))

                assert await client.closed() == 1002
                assert await client.reader.read() == b""
                await client.close()
                assert await recorder.until("lost") == [1006]
                assert len(server.closing_sockets(running.state)) == 0
                assert len(running.state.__dict__["drawbridge_lingering"]) == 0

        run()


def fill(recorder: Recorder) -> int:
    """Write until the peer's buffers are full, and more; return how much."""
    size = 0
    while not recorder.all("stalled"):
        recorder.transport.write(frame(BINARY, b"x" * 100_000))
        size += 100_000
    return size


class TestSlowReaders:
    """A peer that does not read costs a bounded number of bytes and seconds."""

    @on_uvloop
    async def test_stall_and_its_end_are_told(self) -> None:
        """Each once; nothing is lost on the way."""
        async with serving() as running:
            client, recorder = await running.open(limit=1024)
            size = fill(recorder)
            assert recorder.transport.buffered() > 0

            received = 0
            while received < size:
                received += len((await client.frame())[1])
            await recorder.until("drained")

            assert recorder.events == [("stalled", None), ("drained", None)]
            assert recorder.transport.buffered() == 0

    @on_uvloop
    async def test_pings_are_not_answered_while_nobody_reads(self) -> None:
        """RFC 6455 section 5.5.3: only the last has to be; else a flood of them fills memory."""
        async with serving() as running:
            client, recorder = await running.open(limit=1024)
            size = fill(recorder)
            before = recorder.transport.buffered()
            client.send(*[masked(PING, b"x" * 125)] * 1000)
            await recorder.until("seen", 1000)
            assert recorder.transport.buffered() <= before

            while size > 0:
                size -= len((await client.frame())[1])
            await recorder.until("drained")
            client.send(masked(PING, b"last"))
            assert await client.frame() == (PONG, b"last")

    @on_uvloop
    async def test_abort_frees_what_was_not_taken(self) -> None:
        """``close`` would wait for a flush that never comes."""
        async with serving() as running:
            _, recorder = await running.open(limit=1024)
            fill(recorder)
            recorder.transport.abort()

            assert await recorder.until("lost") == [1006]
            assert recorder.transport.buffered() == 0

    def test_closed_peer_that_does_not_read_is_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also one that sent a close frame itself, and does not take the answer."""
        monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.01)

        @on_uvloop
        async def run() -> None:
            async with serving() as running:
                client, recorder = await running.open(limit=1024)
                fill(recorder)
                client.send(masked(CLOSE, b"\x03\xe8"))
                await recorder.until("lost")
                await server.closing_sockets(running.state).none()

                await until(lambda: recorder.transport.buffered() == 0)
                assert recorder.all("lost") == [1000]

        run()


class TestMemory:
    """Nothing of the request survives in an open connection (design: 1.9 KiB an idle one)."""

    @on_uvloop
    async def test_socket_has_no_dictionary(self) -> None:
        """Slots all the way up."""
        async with serving() as running:
            _, recorder = await running.open()

            assert isinstance(recorder.transport, Socket)
            assert not hasattr(recorder.transport, "__dict__")
            assert not hasattr(recorder.transport, "__weakref__")

    @on_uvloop
    async def test_closed_connection_dies_without_the_garbage_collector(self) -> None:
        """Socket and connection refer to each other, until it is lost."""
        async with serving() as running:
            client, recorder = await running.open()
            connection = weakref.ref(recorder)
            gc.collect()
            gc.disable()
            try:
                client.hang_up()
                await recorder.until("lost")
                del recorder
                await asyncio.sleep(0.01)
                left = connection()
            finally:
                gc.enable()

            assert left is None
