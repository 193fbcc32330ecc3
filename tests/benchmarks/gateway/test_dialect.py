"""What clients say."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.gateway import dialect
from ws_gateway.protocol.json_codec import JSONCodec
from ws_gateway.protocol.protobuf_codec import ProtobufCodec

CHANNELS = ("room:all", f"room:own-{dialect.NUMBER}")


def test_the_payload_is_as_long_as_the_tables_say() -> None:
    """With the time filled in it is JSON."""
    assert len(dialect.PAYLOAD) == dialect.PAYLOAD_BYTES
    filled = dialect.PAYLOAD.replace(dialect.STAMP, "1000000012345678")
    assert json.loads(filled)["t"] == 1000000012345678


@pytest.mark.parametrize(
    ("receives", "sends", "codec"),
    [
        (dialect.subscriber(*CHANNELS), dialect.publisher("room:all"), JSONCodec()),
        (
            dialect.protobuf_subscriber(*CHANNELS),
            dialect.protobuf_publisher("room:all"),
            ProtobufCodec(),
        ),
    ],
    ids=["json", "protobuf"],
)
def test_the_gateway_understands_it(
    receives: dialect.Dialect, sends: dialect.Dialect, codec: JSONCodec | ProtobufCodec
) -> None:
    """Both encodings say the same."""
    hello = codec.decode(receives.hello)
    (publication,) = codec.decode(sends.message.replace(b"@" * 16, b"1" * 16))

    connect, *subscribes = hello
    assert connect.connect is not None
    assert [one.subscribe and one.subscribe.channel for one in subscribes] == list(CHANNELS)
    assert publication.publish is not None
    assert publication.publish.channel == "room:all"
    assert json.loads(bytes(publication.publish.data))["t"] == int("1" * 16)


def test_the_head_is_a_handshake() -> None:
    """With the token where it is filled in."""
    head = dialect.subscriber("room:all").head(8011)

    assert head.startswith(b"GET /connection/websocket HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer {token}\r\n" in head
    assert head.endswith(b"\r\n\r\n")
