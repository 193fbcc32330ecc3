"""The JSON encoding: lines of JSON in one text message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import TEXT, frame
from ws_gateway.protocol.messages import REQUEST_NAMES, Command, Publication, Reply
from ws_gateway.protocol.payload import fits_line

_decode = msgspec.json.Decoder(Command).decode
_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

# One escape of a string; the group is half a character without its other half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_WHOLE = rb"\ufffd"
_BROKEN = Raw(rb'"\ud800"')


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
            return list(map(_decode, message.removesuffix(b"\n").split(b"\n")))
        except _UNREADABLE:
            pass
        try:
            return [_decode_again(line) for line in message.removesuffix(b"\n").split(b"\n")]
        except _UNREADABLE:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "undecodable command") from None

    def encode(self, reply: Reply) -> bytes:
        """Build the frame of one reply or push.

        Raises:
            Disconnect: 3506 for a publication that cannot be said in JSON. Protobuf clients may
                publish such into channels whose namespace lets them.
        """
        push, subscribed, connected = reply.push, reply.subscribe, reply.connect
        if push is not None:
            if push.pub is not None:
                _check(push.pub.data)
        elif (
            (subscribed is not None and subscribed.publications)
            or (connected is not None and connected.subs)
            or reply.history is not None
        ):
            for publication in _publications(reply):
                _check(publication.data)
        return frame(TEXT, _encode(reply))

    def acknowledge(self, command_id: int) -> bytes:
        """Build the frame of the reply to a publish command."""
        return frame(TEXT, b'{"id":%d,"publish":{}}' % command_id)

    def delta_data(self, data: Raw, change: bytes | None = None) -> Raw:
        """Write a payload, or its patch, for a subscription whose payloads may be patches.

        Both are text to SDKs then: the JSON of the one in a string, like the other.

        Raises:
            Disconnect: 3506 for a payload that is no JSON: it would pass for some in its string,
                and a patch of it is of no use.
        """
        _check(data)
        return Raw(_encode((bytes(data) if change is None else change).decode()))


def _check(data: Raw) -> None:
    if not fits_line(data):
        raise Disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL, "binary publication")


def _publications(reply: Reply) -> Iterable[Publication]:
    """List the past publications in an answer."""
    if reply.history is not None:
        return reply.history.publications
    if reply.subscribe is not None:
        return reply.subscribe.publications
    if reply.connect is not None and reply.connect.subs is not None:
        return chain.from_iterable(result.publications for result in reply.connect.subs.values())
    return ()


def _decode_again(line: bytes) -> Command:
    """Read a line in whose payload there may be half a character.

    A text that was cut in the middle of an emoji becomes such JSON. No parser should be given
    it, but its sender broke no protocol: the payload is replaced by one that no check lets pass,
    so that the command fails and the connection goes on.
    """
    whole = _ESCAPE.sub(lambda escape: _WHOLE if escape[1] else escape[0], line)
    command = _decode(whole)
    if whole == line:
        return command
    request = command.request
    if request is None or whole.count(_WHOLE) != bytes(getattr(request, "data", b"")).count(_WHOLE):
        raise msgspec.DecodeError("half a character outside of a payload")
    broken = replace(request, data=_BROKEN)
    return replace(command, **{REQUEST_NAMES[type(request)]: broken})
