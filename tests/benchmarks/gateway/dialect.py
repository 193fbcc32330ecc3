"""What clients say to each kind of server, for the load generator to repeat.

In every text ``#####`` stands for the number of the socket and 16 ``@`` for the time of sending, so
that its length does not depend on them; ``{token}`` in a header for an access token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from ws_gateway.protocol import client_pb2 as pb

STAMP = "@" * 16
NUMBER = "#" * 5
PAYLOAD_BYTES = 100
BEARER = "Authorization: Bearer {token}"


def _payload(size: int = PAYLOAD_BYTES) -> str:
    """Write the JSON of a publication, which has the time it was sent at."""
    start, end = f'{{"t":{STAMP},"x":"', '"}'
    return start + "x" * (size - len(start) - len(end)) + end


PAYLOAD = _payload()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How clients of a server behave.

    Attributes:
        path: Of the handshake.
        headers: More of its lines.
        hello: The first message after the handshake; none if empty.
        ready: What the answers to it contain ...
        ready_times: ... so often, before the socket counts as open.
        refused: What an answer to it contains that is a refusal; none is looked for if empty.
        ping: A message that asks for ...
        pong: ... this one; frames of WebSocket's own are answered too.
        message: A publication.
        reply: What its confirmation contains; empty where there is none.
        binary: Whether clients send binary frames.
        echoes: Whether the sender is among those who receive.
    """

    path: str = "/"
    headers: tuple[str, ...] = ()
    hello: bytes = b""
    ready: bytes = b""
    ready_times: int = 0
    refused: bytes = b""
    ping: bytes = b""
    pong: bytes = b""
    message: bytes = PAYLOAD.encode()
    reply: bytes = b""
    binary: bool = False
    echoes: bool = False

    def head(self, port: int) -> bytes:
        """Write the head of the handshake."""
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: YmVuY2htYXJraW5nIGl0IQ==",
            *self.headers,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


PLAIN = Dialect()
"""Text in, the same text out to everyone."""


def subscriber(*channels: str, connects: bool = True) -> Dialect:
    """Authenticate at the handshake, then subscribe, all in one message of JSON.

    Args:
        channels: To what.
        connects: Whether a `connect` comes first, as SDKs do; a bare client goes without.
    """
    commands: list[dict[str, object]] = [{"connect": {}}] if connects else []
    commands += [{"subscribe": {"channel": channel}} for channel in channels]
    lines = [json.dumps({"id": 1 + n} | command) for n, command in enumerate(commands)]
    return Dialect(
        path="/connection/websocket",
        headers=(BEARER,),
        hello="\n".join(lines).encode(),
        ready=b'"subscribe":{' if channels else b'"connect":{',
        ready_times=len(channels) or int(connects),
        refused=b'"error":{',
        ping=b"{}",
        pong=b"{}",
        reply=b'"publish":{}',
    )


def publisher(channel: str, *, size: int = PAYLOAD_BYTES) -> Dialect:
    """Authenticate, connect, and publish with a reply."""
    request = f'{{"channel":"{channel}","data":{_payload(size)}}}'
    return replace(subscriber(), message=f'{{"id":9,"publish":{request}}}'.encode())


def protobuf_subscriber(*channels: str) -> Dialect:
    """Do the same in Protobuf."""
    commands = [pb.Command(id=1, connect=pb.ConnectRequest())]
    commands += [
        pb.Command(id=2 + n, subscribe=pb.SubscribeRequest(channel=channel))
        for n, channel in enumerate(channels)
    ]
    last = len(commands)
    return Dialect(
        path="/connection/websocket",
        headers=(BEARER, "Sec-WebSocket-Protocol: centrifuge-protobuf"),
        hello=b"".join(map(_delimited, commands)),
        # The fields id and subscribe, or connect, of the last reply.
        ready=bytes([0x08, last, 0x32 if channels else 0x2A]),
        ready_times=1,
        ping=b"\0",
        pong=b"\0",
        binary=True,
    )


def protobuf_publisher(channel: str) -> Dialect:
    """Connect, and publish with a reply, in Protobuf."""
    request = pb.PublishRequest(channel=channel, data=PAYLOAD.encode())
    message = _delimited(pb.Command(id=9, publish=request))
    return replace(protobuf_subscriber(), message=message, reply=b"\x08\x09\x42\x00")


def _delimited(command: pb.Command) -> bytes:
    content = command.SerializeToString()
    length = len(content)
    prefix = bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
    return prefix + content


SOCKET_IO = Dialect(
    path="/socket.io/?EIO=4&transport=websocket",
    hello=b"40",
    ready=b"40{",
    ready_times=1,
    ping=b"2",
    pong=b"3",
    message=b'42["m",' + PAYLOAD.encode() + b"]",
    echoes=True,
)
"""Engine.IO 4 over WebSocket from the first byte, and the default namespace of Socket.IO."""
