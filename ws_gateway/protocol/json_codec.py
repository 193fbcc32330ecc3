"""The JSON encoding: lines of JSON in one text message."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import TEXT, frame
from ws_gateway.protocol.messages import Command, Reply

_decode = msgspec.json.Decoder(Command).decode
_encode = msgspec.json.Encoder().encode
_validate = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


# .NET's parser takes 64 levels by default, and a push puts a few around the payload.
_MAX_DEPTH = 60
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def _depth(text: bytes) -> int:
    """Count the levels of a valid JSON text."""
    depth = deepest = 0
    for token in _TOKEN.findall(text):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


class JSONCodec:
    """Newline-delimited JSON; payloads are embedded as they came."""

    subprotocol = "centrifuge-json"
    binary = False
    ping = frame(TEXT, b"{}")

    def decode(self, message: bytes) -> list[Command]:
        """Read the commands of one message.

        One trailing newline is tolerated, a blank line is not.

        Raises:
            Disconnect: 3501 for whatever cannot be read, as the protocol wants it.
        """
        try:
            if b"\n" not in message:
                return [_decode(message)]
            return [_decode(line) for line in message.removesuffix(b"\n").split(b"\n")]
        except _UNREADABLE:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "undecodable command") from None

    def check_data(self, data: Raw) -> bool:
        """Whether every receiver's parser will take this payload.

        The command decoder skips over payloads; what it skips too easily is a number that no
        double or 64-bit integer holds, or deep nesting, on which some clients' parsers raise.
        """
        try:
            _validate(data)
        except _UNREADABLE:
            return False
        text = bytes(data)
        # Hardly any payload has so many brackets at all.
        return text.count(b"[") + text.count(b"{") <= _MAX_DEPTH or _depth(text) <= _MAX_DEPTH

    def encode(self, reply: Reply) -> bytes:
        """Build the frame of one reply or push."""
        return frame(TEXT, _encode(reply))
