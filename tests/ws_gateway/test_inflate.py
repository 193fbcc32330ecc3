"""What clients have compressed, and bombs."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given, strategies as st

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect
from ws_gateway.inflate import inflate

LIMIT = 65_536


def deflated(message: bytes, *, bits: int = 15, end: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return a message as a client sends it."""
    stream = zlib.compressobj(wbits=-bits)
    text = stream.compress(message) + stream.flush(end)
    return text.removesuffix(b"\x00\x00\xff\xff")


@given(st.binary(), st.integers(9, 15))
def test_every_message_is_read(message: bytes, bits: int) -> None:
    """With every window a client may have."""
    assert inflate(deflated(message, bits=bits), LIMIT) == message


def test_the_standards_own_examples_are_read() -> None:
    """RFC 7692 section 7.2.3: one block, no compression, a final block, two blocks."""
    for payload in (
        "f248cdc9c90700",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f24805000000ffffcac9c90700",
    ):
        assert inflate(bytes.fromhex(payload), LIMIT) == b"Hello"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_is_that_of_the_message(size: int) -> None:
    """Not of what was sent."""
    payload = deflated(b"A" * size)
    if size <= LIMIT:
        assert len(inflate(payload, LIMIT)) == size
        return
    with pytest.raises(Disconnect) as refused:
        inflate(payload, LIMIT)
    assert refused.value.code == DisconnectCode.MESSAGE_TOO_BIG


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    """W12: 50 MB of one letter in 50 KB."""
    bomb = deflated(b"A" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(Disconnect) as refused:
            inflate(bomb, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(bomb) < LIMIT
    assert refused.value.code == DisconnectCode.MESSAGE_TOO_BIG
    assert peak < 10 * LIMIT


@given(st.binary(min_size=1))
def test_other_bytes_are_a_message_or_one_error(payload: bytes) -> None:
    """Nothing else comes out."""
    try:
        assert len(inflate(payload, LIMIT)) <= LIMIT
    except Disconnect as error:
        code = error.code
    else:
        code = DisconnectCode.PROTOCOL_ERROR

    assert code in {DisconnectCode.PROTOCOL_ERROR, DisconnectCode.MESSAGE_TOO_BIG}
