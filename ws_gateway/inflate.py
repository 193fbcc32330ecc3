"""What a client has compressed (RFC 7692 section 7.2.2), each message for itself."""

from __future__ import annotations

import zlib

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect

_RAW = -zlib.MAX_WBITS  # without a head; takes every window a client may have chosen
_TAIL = b"\x00\x00\xff\xff"  # that every sender leaves out


def inflate(payload: bytes, limit: int) -> bytes:
    """Return a message as it was before; no more memory is used than ``limit`` and a little.

    Raises:
        Disconnect: 1009 where it is longer than ``limit``, 1002 where it cannot be read.
    """
    stream = zlib.decompressobj(_RAW)
    try:
        message = stream.decompress(payload + _TAIL, limit + 1)
    except zlib.error:
        raise Disconnect(DisconnectCode.PROTOCOL_ERROR, "compressed message") from None
    if len(message) > limit:
        raise Disconnect(DisconnectCode.MESSAGE_TOO_BIG, "inflated")
    return message
