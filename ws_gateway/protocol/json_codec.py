"""The JSON encoding: lines of JSON in one text message."""

from __future__ import annotations

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
        double or 64-bit integer holds, on which some clients' parsers raise.
        """
        try:
            _validate(data)
        except _UNREADABLE:
            return False
        return True

    def encode(self, reply: Reply) -> bytes:
        """Build the frame of one reply or push."""
        return frame(TEXT, _encode(reply))
