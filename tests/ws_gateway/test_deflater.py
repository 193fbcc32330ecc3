"""Frames in fewer bytes, each compressed once."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given, strategies as st

from ws_gateway.deflater import Deflater
from ws_gateway.frames import BINARY, COMPRESSED, PING, TEXT, FrameParser, frame
from ws_gateway.inflate import inflate

LARGE = b'{"a":"' + b"word " * 200 + b'"}'


@pytest.fixture
def deflater() -> Deflater:
    """One that leaves messages below 100 bytes alone."""
    return Deflater(100)


def read(frames: bytes) -> list[tuple[int, bytes]]:
    """Take frames apart as a client would, and inflate them."""
    found = []
    while frames:
        first, length, start = frames[0], frames[1], 2
        if length == 126:
            length, start = int.from_bytes(frames[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(frames[2:10], "big"), 10
        payload = frames[start : start + length]
        if first & COMPRESSED:
            payload = inflate(payload, 10**6)
        found.append((first & 0x0F, payload))
        frames = frames[start + length :]
    return found


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=120))))
def test_what_is_read_is_what_was_written(messages: list[tuple[int, bytes]]) -> None:
    """In any mix of frames that were joined."""
    frames = b"".join(frame(opcode, payload) for opcode, payload in messages)

    assert read(Deflater(20).shrink(frames)) == messages


def test_a_large_message_is_compressed(deflater: Deflater) -> None:
    """And counted."""
    shrunk = deflater.shrink(frame(TEXT, LARGE))

    assert shrunk[0] == 0x80 | COMPRESSED | TEXT
    assert len(shrunk) < len(LARGE) / 5
    assert read(shrunk) == [(TEXT, LARGE)]
    assert deflater.bytes_in == len(LARGE)
    assert deflater.bytes_out < len(shrunk)


def test_small_ones_and_noise_stay_as_they_are(deflater: Deflater) -> None:
    """They would only cost time, or grow."""
    small, noise = frame(TEXT, b"x" * 99), frame(BINARY, secrets.token_bytes(500))

    assert deflater.shrink(small) == small
    assert deflater.shrink(noise) == noise
    assert (deflater.bytes_in, deflater.bytes_out) == (500, 500)


def test_a_frame_is_compressed_once_for_all(deflater: Deflater) -> None:
    """The very object is handed out: nothing is made for each subscriber."""
    publication = frame(TEXT, LARGE)
    shrunk = deflater.shrink(publication)

    assert all(deflater.shrink(publication) is shrunk for _ in range(1000))
    assert deflater.bytes_in == len(LARGE)


def test_one_message_tells_nothing_about_another(deflater: Deflater) -> None:
    """Each is compressed for itself, so that its length depends on nothing else."""
    first = deflater.shrink(frame(TEXT, LARGE))
    deflater.shrink(frame(TEXT, LARGE + b" "))

    assert len(Deflater(100).shrink(frame(TEXT, LARGE))) == len(first)
    assert len(deflater.shrink(bytes(bytearray(frame(TEXT, LARGE))))) == len(first)


def test_what_it_keeps_is_bounded(deflater: Deflater) -> None:
    """Also where one frame alone is more than it may keep."""
    for number in range(300):
        deflater.shrink(frame(BINARY, secrets.token_bytes(10_000) + b"%d" % number))
    deflater.shrink(frame(BINARY, b"x" * 3_000_000))
    kept = sum(len(key) + len(value) for key, value in deflater._kept.items())

    assert kept == deflater._kept_bytes <= 2**20


def test_our_own_parser_would_read_it() -> None:
    """Masked with zeros, as a client's frame."""
    shrunk = Deflater(100).shrink(frame(TEXT, b"x" * 1000))
    masked = bytes((shrunk[0], shrunk[1] | 0x80)) + bytes(4) + shrunk[2:]

    assert list(FrameParser(2000, inflates=True).feed(masked)) == [(TEXT, b"x" * 1000)]
