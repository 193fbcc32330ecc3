"""A connection whose client speaks Protobuf."""

from __future__ import annotations

import pytest

from tests.ws_gateway.commands import (
    subscribe,
)
from tests.ws_gateway.conftest import Gateway, Peer, settle
from ws_gateway.credentials import Credentials
from ws_gateway.frames import BINARY, split
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.codec import PROTOBUF


def send(peer: Peer, *commands: pb.Command) -> None:
    """Send one Protobuf message of these commands, none longer than 127 bytes."""
    parts = [command.SerializeToString() for command in commands]
    peer.connection.receive(b"".join(bytes([len(part)]) + part for part in parts), binary=True)


async def replies(peer: Peer) -> list[pb.Reply]:
    """Return what has come since the last call; none of it longer than 127 bytes."""
    await settle()
    frames = list(split(b"".join(peer.transport.writes)))
    peer.transport.writes.clear()
    assert all(opcode == BINARY and content[0] == len(content) - 1 for opcode, content in frames)
    return [pb.Reply.FromString(content[1:]) for _, content in frames]


class TestProtobuf:
    """The other encoding; everything else is the same."""

    async def test_commands_are_answered_in_order(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Several in one message, as the JavaScript SDK sends them."""
        peer = gateway.open(alice, codec=PROTOBUF)

        send(
            peer,
            pb.Command(id=1, connect={"name": "js"}),
            pb.Command(id=2, subscribe={"channel": "room:1", "flag": 1}),
            pb.Command(id=3, publish={"channel": "room:1", "data": b'{"a":1}'}),
            pb.Command(id=4, unsubscribe={"channel": "room:1"}),
        )
        answers = await replies(peer)

        connect, *rest = answers
        assert connect.connect.client == peer.connection.client
        assert connect.connect.subs.keys() == {"dm:#alice"}
        assert (connect.connect.ping, connect.connect.pong) == (25, True)
        assert [reply.id for reply in rest] == [2, 0, 3, 4]
        assert [field.name for reply in rest for field, _ in reply.ListFields()] == [
            *("id", "subscribe", "push", "id", "publish", "id", "unsubscribe")
        ]
        assert rest[1].push.pub.data == b'{"a":1}'
        assert rest[1].push.pub.info.user == "alice"

    async def test_ping_is_one_byte_and_so_is_the_pong(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 6."""
        peer = gateway.open(alice, codec=PROTOBUF)
        send(peer, pb.Command(id=1, connect={}))
        await replies(peer)

        for _ in range(25):  # it comes after half an interval to a whole one
            await gateway.advance(1)
            if pings := await replies(peer):
                break
        else:
            pytest.fail("no ping")
        assert pings == [pb.Reply()]
        send(peer, pb.Command())
        await gateway.advance(9)

        assert peer.closed is None
        send(peer, pb.Command())
        await replies(peer)
        assert peer.closed == 3501

    async def test_text_is_3501(self, gateway: Gateway, alice: Credentials) -> None:
        """A text message in Protobuf mode."""
        peer = gateway.open(alice, codec=PROTOBUF)

        peer.send({"id": 1, "connect": {}})

        assert peer.closed == 3501

    async def test_both_encodings_in_one_channel(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """A payload is the same bytes for both."""
        json_peer = await gateway.connect(bob)
        await json_peer.ask(subscribe("room:1"))
        peer = gateway.open(alice, codec=PROTOBUF)

        send(
            peer,
            pb.Command(subscribe={"channel": "room:1"}),
            pb.Command(publish={"channel": "room:1", "data": b'{"a":\n[1]}'}),
        )
        (reply,) = await json_peer.receive()

        assert reply["push"]["pub"]["data"] == {"a": [1]}
        (push,) = [reply.push for reply in await replies(peer)]
        assert push.pub.data == b'{"a": [1]}'

    @pytest.mark.parametrize("data", [b"\x00", b"", b'{"a":\n1}', b'"\xff"', b'1},"x":{"y":1'])
    async def test_what_json_cannot_carry_is_3506_for_json_clients(
        self, gateway: Gateway, alice: Credentials, bob: Credentials, data: bytes
    ) -> None:
        """Never broken JSON, nor anything said in the server's name; the others are served."""
        json_peer = await gateway.connect(bob)
        await json_peer.ask(subscribe("bytes:1"))
        peer = gateway.open(alice, codec=PROTOBUF)

        send(
            peer,
            pb.Command(subscribe={"channel": "bytes:1"}),
            pb.Command(publish={"channel": "bytes:1", "data": b"1"}),
            pb.Command(publish={"channel": "bytes:1", "data": data}),
        )
        received = await json_peer.receive()

        assert [reply["push"]["pub"]["data"] for reply in received] == [1]
        assert json_peer.closed == 3506
        assert [reply.push.pub.data for reply in await replies(peer)] == [b"1", data]
        assert peer.closed is None
