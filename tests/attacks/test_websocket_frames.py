"""W: frames and messages that break RFC 6455, or cost more than they may, against a process.

After each of them ``Door.unharmed`` sees that nobody was harmed. W9, W10 and W11 are tried in all
their variations in tests/ws_gateway/test_frames.py and test_sockets.py, W12 in test_inflate.py.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from tests.attacks.door import Door, headers, status
from tests.ws_gateway.raw_server import MASK, masked, request
from ws_gateway.frames import BINARY, CLOSE, COMPRESSED, CONTINUATION, PING, PONG, TEXT
from ws_gateway.routes.websocket import PATH

pytestmark = pytest.mark.integration

LIMIT = 65_536
RSV1, RSV3 = 0x40, 0x10
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@pytest.fixture(scope="module")
def door_settings() -> dict[str, str]:
    """A gateway that agrees to compression."""
    return {"GATEWAY_COMPRESSION": "1"}


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame of a client."""
    return masked(CLOSE, code.to_bytes(2) + reason)


def announced(length: int) -> bytes:
    """Return the head of a frame that claims to be so long."""
    return bytes((0x80 | TEXT, 0xFF)) + length.to_bytes(8) + MASK


BROKEN: dict[str, tuple[int, bytes]] = {
    "W9 unmasked": (1002, b"\x81\x02{}"),
    "W9 RSV1 without its extension": (1002, masked(RSV1 | TEXT, b"{}")),
    "W9 RSV3": (1002, masked(RSV3 | TEXT, b"{}")),
    "W9 opcode 3": (1002, masked(3)),
    "W9 opcode 11": (1002, masked(11)),
    "W9 a ping of 126 bytes": (1002, masked(PING, bytes(126))),
    "W9 a ping in fragments": (1002, masked(PING, fin=False)),
    "W9 a continuation of nothing": (1002, masked(CONTINUATION, b"{}")),
    "W9 a text inside another": (1002, masked(TEXT, b"{", fin=False) + masked(TEXT, b"}")),
    "W9 half a close code": (1002, masked(CLOSE, b"\x03")),
    **{f"W9 close {code}": (1002, close(code)) for code in (0, 999, 1005, 1006, 2999, 65_535)},
    "W10 invalid UTF-8": (1007, masked(TEXT, b"\xc3\x28")),
    "W10 a surrogate": (1007, masked(TEXT, b"\xed\xa0\x80")),
    "W10 in a close reason": (1007, close(1000, b"\xff")),
    "W10 over fragments": (
        1007,
        masked(TEXT, b"\xc3", fin=False) + masked(CONTINUATION, b"\x28"),
    ),
    "W11 2^40 bytes": (1009, announced(2**40)),
    "W11 2^63 bytes": (1009, announced(2**63)),
    "W11 2^64 - 1 bytes": (1009, announced(2**64 - 1)),
    "W11 one byte too many": (1009, announced(LIMIT + 1)),
    "W11 fragments that sum up": (
        1009,
        masked(TEXT, bytes(60_000), fin=False) + masked(CONTINUATION, bytes(60_000)),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_ends_the_connection_with_its_code(door: Door, name: str) -> None:
    """W9, W10, W11: at once, and nothing behind it is read."""
    code, frames = BROKEN[name]

    with (
        door.counts(f'gateway_disconnects_total{{code="{code}"}}'),
        door.enter() as peer,
    ):
        peer.send(frames, masked(TEXT, b'{"publish":{"channel":"here","data":"behind it"}}'))
        assert peer.closed() == code


def test_w10_a_character_may_lie_in_two_fragments(door: Door) -> None:
    """RFC 6455 section 5.6: the message counts."""
    command = json.dumps({"id": 1, "rpc": {"method": "\u00e9"}}, ensure_ascii=False).encode()
    cut = command.index(b"\xc3") + 1
    with door.connect() as peer:
        peer.send(masked(TEXT, command[:cut], fin=False), masked(CONTINUATION, command[cut:]))

        assert peer.hear()["error"]["code"] == 108


def test_w11_a_message_at_the_limit_is_read(door: Door) -> None:
    """One byte less than what is too much."""
    command = b'{"id":1,"connect":{}}'
    with door.enter() as peer:
        text = command + b" " * (LIMIT - len(command))
        peer.send(bytes((0x80 | TEXT, 0xFF)) + LIMIT.to_bytes(8) + MASK + text)

        assert "connect" in peer.hear()


def test_w12_a_bomb_is_too_big_and_takes_no_memory(door: Door) -> None:
    """50 MB of one letter in 50 KB: nobody inflates what he will not read."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(b"A" * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    before = door.metrics("process_resident_memory_bytes")
    with door.peer() as peer:
        peer.send(request(PATH, door.bearer(), DEFLATE))
        head = peer.head()
        assert status(head) == 101
        assert "permessage-deflate" in headers(head)["sec-websocket-extensions"]
        peer.send(masked(COMPRESSED | TEXT, bomb[: -len(b"\0\0\xff\xff")]))
        assert peer.closed() == 1009

    assert len(bomb) < LIMIT
    assert door.metrics("process_resident_memory_bytes") - before < 20_000_000


def test_w13_a_hundred_thousand_fragments_are_one_message_that_is_too_big(door: Door) -> None:
    """It ends where the limit is passed, whatever the pieces."""
    with door.enter() as peer:
        peer.send(masked(TEXT, b"{", fin=False), masked(CONTINUATION, b" ", fin=False) * 100_000)

        assert peer.closed() == 1009


@pytest.mark.parametrize(
    "flood",
    [masked(CONTINUATION, fin=False), masked(PONG, b"x"), masked(PING)],
    ids=["empty continuations", "pongs", "pings"],
)
def test_w13_a_flood_that_says_nothing_costs_nothing(door: Door, flood: bytes) -> None:
    """It is read and forgotten: the connection answers behind it, and memory is where it was."""
    command = b'"connect":{}}'
    before = door.metrics("process_resident_memory_bytes")
    with door.enter() as peer:
        peer.send(masked(TEXT, b'{"id":1,', fin=False), flood * 20_000)
        peer.send(masked(CONTINUATION, command))
        replies: list[Any] = []
        while not replies:
            first, payload = peer.frame()
            if first & 0x0F == TEXT:
                replies.append(json.loads(payload))

    assert "connect" in replies[0]
    assert door.metrics("process_resident_memory_bytes") - before < 20_000_000


def test_w13_a_flood_of_pings_that_nobody_reads_the_pongs_of_is_not_answered(door: Door) -> None:
    """RFC 6455 section 5.5.3: of several the last needs an answer; none is kept for who is away."""
    before = door.metrics("process_resident_memory_bytes")
    with door.enter(receive_buffer=4096) as peer:
        peer.send(masked(PING, bytes(125)) * 40_000)

        assert door.metrics("process_resident_memory_bytes") - before < 20_000_000


def test_binary_is_no_json(door: Door) -> None:
    """3501, as the protocol says."""
    with door.enter() as peer:
        peer.send(masked(BINARY, b"{}"))

        assert peer.closed() == 3501
