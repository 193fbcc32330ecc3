"""The echo that the Autobahn|Testsuite talks to, and what of its cases can be had cheaply."""

from __future__ import annotations

import random
import zlib

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)

from tests.autobahn.echo import MAX_MESSAGE_BYTES, Echoes
from tests.ws_gateway.raw_server import MASK, Client, Server, masked, on_uvloop, request, serving
from ws_gateway.frames import BINARY, CLOSE, COMPRESSED, CONTINUATION, PING, PONG, TEXT

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
TAIL = b"\x00\x00\xff\xff"
SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536, 131_072)


async def opened(running: Server, *headers: str) -> Client:
    """Open a WebSocket that writes bytes."""
    client = await running.ask(request("/", *headers))
    await client.upgrade()
    return client


def reference(running: Server, offer: ClientPerMessageDeflateFactory | None = None) -> connect:
    """Connect as `websockets` does; compressed if the offer is accepted."""
    return connect(
        f"ws://127.0.0.1:{running.port}",
        compression=None,
        extensions=None if offer is None else [offer],
        max_size=None,
        proxy=None,
    )


async def same(socket: ClientConnection, message: str | bytes) -> bool:
    """Send a message, and see whether the same comes back."""
    await socket.send(message)
    return await socket.recv() == message


@on_uvloop
async def test_messages_of_every_length_come_back() -> None:
    """Cases 1.*, and 9.1.6 and 9.2.6: 16 MiB."""
    async with serving(app=Echoes()) as running, reference(running) as socket:
        for size in (*SIZES, MAX_MESSAGE_BYTES):
            assert await same(socket, "*" * size)
            assert await same(socket, b"\xfe" * size)


@on_uvloop
async def test_a_message_over_the_limit_is_refused() -> None:
    """One byte more than the longest of the suite, before it has come."""
    head = bytes((0x80 | BINARY, 0xFF)) + (MAX_MESSAGE_BYTES + 1).to_bytes(8) + MASK
    async with serving(app=Echoes()) as running:
        client = await opened(running)
        client.send(head)

        assert await client.closed() == 1009


@on_uvloop
async def test_a_ping_between_fragments_is_answered_at_once() -> None:
    """Cases 5.*: the message may take as long as it likes."""
    async with serving(app=Echoes()) as running:
        client = await opened(running)
        client.send(masked(TEXT, "gr\u00f6".encode()[:3], fin=False), masked(PING, b"in between"))

        assert await client.frame() == (PONG, b"in between")
        client.send(
            masked(CONTINUATION, fin=False), masked(CONTINUATION, "\u00f6\u00df".encode()[1:])
        )
        assert await client.frame() == (TEXT, "gr\u00f6\u00df".encode())


@on_uvloop
async def test_bytes_that_come_one_by_one_are_read() -> None:
    """Cases 2.6 and 5.*: a ping, fragments and the handshake itself."""
    frames = masked(PING, bytes(125)) + masked(BINARY, b"a", fin=False) + masked(CONTINUATION, b"b")
    async with serving(app=Echoes()) as running:
        client = await running.connect()
        await client.send_slowly((request("/") + frames.decode("latin-1")).encode("latin-1"))
        await client.upgrade()

        assert await client.frame() == (PONG, bytes(125))
        assert await client.frame() == (BINARY, b"ab")


@on_uvloop
async def test_a_long_message_in_small_pieces_comes_back() -> None:
    """Cases 9.3 to 9.6: a quarter of a MiB in frames of 64 bytes."""
    piece = bytes(range(64))
    async with serving(app=Echoes()) as running:
        client = await opened(running)
        client.send(
            masked(BINARY, piece, fin=False),
            masked(CONTINUATION, piece, fin=False) * 4094,
            masked(CONTINUATION, piece),
        )

        assert await client.frame() == (BINARY, piece * 4096)


@on_uvloop
async def test_a_close_is_answered_with_its_code() -> None:
    """Cases 7.*: every code that may be sent, whatever is behind it; 1002 for others."""
    valid = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
    invalid = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535)
    async with serving(app=Echoes()) as running:
        for code in valid + invalid:
            client = await opened(running)
            client.send(masked(CLOSE, code.to_bytes(2) + b"r" * 123), masked(TEXT, b"behind"))

            assert await client.closed() == (code if code in valid else 1002)
        client = await opened(running)
        client.send(masked(CLOSE))
        assert await client.frame() == (CLOSE, (1000).to_bytes(2))
        await client.hung_up()


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(ClientPerMessageDeflateFactory(), id="plain"),
        pytest.param(
            ClientPerMessageDeflateFactory(
                server_no_context_takeover=True, client_no_context_takeover=True
            ),
            id="no takeover",
        ),
        pytest.param(ClientPerMessageDeflateFactory(client_max_window_bits=9), id="small window"),
        pytest.param(ClientPerMessageDeflateFactory(server_max_window_bits=15), id="largest"),
    ],
)
@on_uvloop
async def test_compressed_messages_come_back(offer: ClientPerMessageDeflateFactory) -> None:
    """Cases 12.* and 13.*: many of each size, alike and not, whole and in fragments."""
    noise = random.Random(7)  # noqa: S311 - bytes that cannot be compressed
    async with serving(app=Echoes()) as running, reference(running, offer) as socket:
        (agreed,) = socket.protocol.extensions
        assert isinstance(agreed, PerMessageDeflate)
        for size in SIZES:
            text = ('{"user":"alice","text":"\u00f6"}' * (size // 20 + 1))[:size]
            for message in (text, text, noise.randbytes(size)):
                assert await same(socket, message)
        await socket.send(["\u00f6" * 5000, "", "a"])
        assert await socket.recv() == "\u00f6" * 5000 + "a"


@on_uvloop
async def test_a_small_window_alone_is_not_agreed_to() -> None:
    """Cases 13.3.* and 13.5.*, which the suite calls unimplemented: messages go uncompressed."""
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=9)
    async with serving(app=Echoes()) as running, reference(running, offer) as socket:
        assert socket.protocol.extensions == []
        assert await same(socket, "*" * 1000)


@on_uvloop
async def test_what_is_sent_is_compressed_each_message_by_itself() -> None:
    """On the wire, with a ping between compressed fragments (RFC 7692 section 6)."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = (packer.compress(b"*" * 1000) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
    async with serving(app=Echoes()) as running:
        client = await opened(running, DEFLATE)
        for _ in range(2):
            client.send(masked(TEXT | COMPRESSED, packed[:3], fin=False), masked(PING, b"plain"))
            client.send(masked(CONTINUATION, packed[3:]))

            assert await client.frame() == (PONG, b"plain")
            first, length = await client.reader.readexactly(2)
            assert (first, length < 125) == (0x80 | COMPRESSED | TEXT, True)
            answer = await client.reader.readexactly(length)
            unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            assert unpacker.decompress(answer + TAIL) == b"*" * 1000


@on_uvloop
async def test_a_compressed_continuation_is_a_fault() -> None:
    """RFC 7692 section 6.1: only a message's first frame says so."""
    async with serving(app=Echoes()) as running:
        client = await opened(running, DEFLATE)
        client.send(masked(TEXT, b"a", fin=False), masked(CONTINUATION | COMPRESSED, b"b"))

        assert await client.closed() == 1002
