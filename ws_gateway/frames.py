"""RFC 6455 frames: bytes in, messages out, and the other way round; no I/O.

A *frame* in this package is what a server writes: one whole, final, unmasked frame as bytes.
It is built once per publication and shared by every subscriber; several are joined into one
write. Transports that cannot write frames (plain ASGI) take them apart with :func:`split`.

No extension is negotiated but permessage-deflate (RFC 7692), where it is switched on. So a set RSV
bit is a protocol error, except the first one of a message that may be compressed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect
from ws_gateway.inflate import inflate

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled extension
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

COMPRESSED = 0x40
"""Added to an opcode: the message is compressed (RSV1, RFC 7692 section 6)."""

_FIN = 0x80
_MASKED = 0x80
_RSV = 0x70
_MAX_CONTROL_PAYLOAD = 125
_MAX_REASON = 123
_LENGTH_16, _LENGTH_64 = 126, 127
_SHORT_HEADERS = {
    opcode: [bytes((_FIN | opcode, length)) for length in range(_LENGTH_16)]
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG, TEXT | COMPRESSED, BINARY | COMPRESSED)
}
_MASK_SIZE = 4
_SHORT_HEADER = 2 + _MASK_SIZE
_MEDIUM_HEADER = 4 + _MASK_SIZE
# Section 7.4: 1004-1006 and 1015 are never sent, 1016-2999 are not defined.
_SENDABLE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))


def frame(opcode: int, payload: bytes) -> bytes:
    """Build one final frame around ``payload`` (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < _LENGTH_16:
        return _SHORT_HEADERS[opcode][length] + payload
    if length < 1 << 16:
        return struct.pack("!BBH", _FIN | opcode, _LENGTH_16, length) + payload
    return struct.pack("!BBQ", _FIN | opcode, _LENGTH_64, length) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Build a close frame; a reason over 123 bytes is cut (section 5.5.1)."""
    text = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)


def split(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """Take joined frames of our own apart into (opcode, payload)."""
    start = 0
    while start < len(frames):
        opcode, length = frames[start] & 0x0F, frames[start + 1]
        start += 2
        if length == _LENGTH_16:
            (length,) = struct.unpack_from("!H", frames, start)
            start += 2
        elif length == _LENGTH_64:
            (length,) = struct.unpack_from("!Q", frames, start)
            start += 8
        yield opcode, frames[start : start + length]
        start += length


def is_close(data: bytes) -> bool:
    """Say whether these bytes are one close frame of a client and nothing else."""
    return (
        len(data) >= _SHORT_HEADER
        and data[0] == _FIN | CLOSE
        and data[1] >= _MASKED
        and data[1] <= _MASKED | _MAX_CONTROL_PAYLOAD
        and len(data) == _SHORT_HEADER + (data[1] ^ _MASKED)
    )


def parse_close(payload: bytes) -> int:
    """Read the code of a received close frame.

    Returns:
        The peer's code, or 1005 where the frame has none.

    Raises:
        Disconnect: 1002 for a code that may not be sent, 1007 for a reason that is not UTF-8.
    """
    if not payload:
        return 1005
    code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0
    if not any(code in codes for codes in _SENDABLE_CODES):
        raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Disconnect(DisconnectCode.INVALID_UTF8, "close reason") from None
    return code


class FrameParser:
    """Turns a client's byte stream into messages and control frames.

    Args:
        max_message_bytes: Limit of one message, summed over its fragments, and of what it is
            inflated to.
        inflates: Messages may be compressed.
    """

    __slots__ = ("_buffer", "_fragments", "_inflates", "_max", "_needed", "_opcode")

    def __init__(self, max_message_bytes: int, *, inflates: bool = False) -> None:
        self._max = max_message_bytes
        self._buffer: bytearray | None = None  # the beginning of an incomplete frame
        self._needed = 0  # bytes the buffer must hold before parsing is worth trying again
        self._fragments: bytearray | None = None
        self._opcode = CONTINUATION  # of the fragmented message, CONTINUATION if there is none
        self._inflates = inflates

    def take_whole(self, data: bytes) -> bytes | None:
        """Return the payload of data that is one whole text message and no more.

        Nearly all that clients send is; None for whatever else, which is for :meth:`feed`.
        """
        size = len(data)
        if (
            size < _SHORT_HEADER
            or data[0] != _FIN | TEXT
            or self._buffer is not None
            or self._fragments is not None
        ):
            return None
        length, body = data[1] ^ _MASKED, _SHORT_HEADER
        if length >= _LENGTH_16:
            if length > _LENGTH_16 or size < _MEDIUM_HEADER:
                return None
            length, body = data[2] << 8 | data[3], _MEDIUM_HEADER
        if size != body + length or length > self._max:
            return None
        return apply_mask(data[body:], data[body - _MASK_SIZE : body])

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (opcode, payload) for each message or control frame that ``data`` completes.

        The opcode is TEXT, BINARY, CLOSE, PING or PONG. UTF-8 is not checked here.

        Raises:
            Disconnect: 1002 for what RFC 6455 section 5 forbids, 1009 as soon as a length above
                the limit is announced, or inflated to. What came before it has been yielded.
        """
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data, self._buffer = bytes(self._buffer), None
        start, end = 0, len(data)
        while start < end:
            if end - start < 2:  # noqa: PLR2004 - the fixed header
                self._keep(data, start, 2)
                return
            first, second = data[start], data[start + 1]
            length = second & 0x7F
            header = 2
            if length == _LENGTH_16:
                header = 4
            elif length == _LENGTH_64:
                header = 10
            self._check_header(first, second)
            if end - start < header:
                self._keep(data, start, header)
                return
            if header > 2:  # noqa: PLR2004
                length = int.from_bytes(data[start + 2 : start + header], "big")
            opcode = first & 0x0F
            self._check_length(opcode, length)
            body = start + header + _MASK_SIZE
            if end < body + length:
                self._keep(data, start, header + _MASK_SIZE + length)
                return
            payload = apply_mask(data[body : body + length], data[body - _MASK_SIZE : body])
            start = body + length
            if opcode >= CLOSE or (first & _FIN and opcode):
                yield opcode, inflate(payload, self._max) if first & COMPRESSED else payload
            elif message := self._collect(
                first & (COMPRESSED | 0x0F), payload, final=bool(first & _FIN)
            ):
                yield message

    def _keep(self, data: bytes, start: int, needed: int) -> None:
        self._buffer = bytearray(data[start:])
        self._needed = needed

    def _check_header(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & _RSV and not (
            self._inflates and first & _RSV == COMPRESSED and opcode in (TEXT, BINARY)
        ):
            raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "reserved bit")
        if not second & _MASKED:
            raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "unmasked frame")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "unknown opcode")
            if not first & _FIN or second & 0x7F > _MAX_CONTROL_PAYLOAD:
                raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "control frame")
        elif opcode > BINARY:
            raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == CONTINUATION) == (self._opcode == CONTINUATION):
            raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "fragment order")

    def _check_length(self, opcode: int, length: int) -> None:
        if opcode >= CLOSE:
            return
        collected = len(self._fragments) if self._fragments is not None else 0
        if collected + length > self._max:
            raise Disconnect(DisconnectCode.MESSAGE_TOO_BIG)

    def _collect(self, opcode: int, payload: bytes, *, final: bool) -> tuple[int, bytes] | None:
        if self._fragments is None:
            self._opcode, self._fragments = opcode, bytearray()
        self._fragments += payload
        if not final:
            return None
        opcode, message = self._opcode, bytes(self._fragments)
        self._opcode, self._fragments = CONTINUATION, None
        if opcode & COMPRESSED:
            return opcode & 0x0F, inflate(message, self._max)
        return opcode, message
