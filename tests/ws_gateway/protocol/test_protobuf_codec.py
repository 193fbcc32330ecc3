"""The Protobuf encoding (protocol sections 1 and 2.2), read back by the generated code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given, strategies as st
from msgspec import Raw

from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import BINARY, split
from ws_gateway.protocol import client_pb2 as pb, protobuf_codec
from ws_gateway.protocol.messages import (
    ABSENT,
    EMPTY,
    Command,
    ConnectRequest,
    PublishRequest,
    Push,
    Reply,
    RPCResult,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.protocol.protobuf_codec import ProtobufCodec

CODEC = ProtobufCodec()
ROOT = Path(__file__).parents[3]


def varint(number: int) -> bytes:
    """Write a number as Protobuf does."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(found) + bytes([number])


def delimited(*messages: bytes) -> bytes:
    """Put its length before each message."""
    return b"".join(varint(len(message)) + message for message in messages)


def field(number: int, kind: int, content: bytes) -> bytes:
    """Write one field by hand, as the generated code would not."""
    head = varint(number << 3 | kind)
    return head + (varint(len(content)) if kind == 2 else b"") + content


def read(frame: bytes) -> pb.Reply:
    """Return what a client reads of one frame."""
    ((opcode, content),) = split(frame)
    assert opcode == BINARY
    length = shift = start = 0
    while True:
        length |= (content[start] & 0x7F) << shift
        shift += 7
        start += 1
        if content[start - 1] < 0x80:
            break
    assert len(content) == start + length
    return pb.Reply.FromString(content[start:])


def assert_undecodable(message: bytes) -> None:
    """See that a message ends the connection."""
    with pytest.raises(Disconnect) as caught:
        CODEC.decode(message)
    assert caught.value.code == 3501


class TestDecode:
    """Section 1: messages, each after its length as an unsigned varint."""

    def test_one_command(self) -> None:
        """The usual message."""
        message = pb.Command(id=1, publish={"channel": "c", "data": b"\x00\xff"})

        (command,) = CODEC.decode(delimited(message.SerializeToString()))

        assert command == Command(id=1, publish=PublishRequest("c", Raw(b"\x00\xff")))

    def test_commands_are_kept_in_order(self) -> None:
        """JS sends ``connect`` and the first subscribes in one message (section 4)."""
        commands = [pb.Command(id=number, rpc={}).SerializeToString() for number in range(1, 4)]

        found = CODEC.decode(delimited(*commands, b"", b""))

        assert [command.id for command in found] == [1, 2, 3, 0, 0]

    def test_absent_payload_is_absent(self) -> None:
        """An empty one cannot be told from none; codecs leave out the object."""
        (command,) = CODEC.decode(delimited(pb.Command(publish={}).SerializeToString()))

        assert command.publish is not None
        assert command.publish.data is ABSENT

    @pytest.mark.parametrize("length", [127, 128, 300, 16_383, 16_384, 65_000])
    def test_lengths_of_several_bytes(self, length: int) -> None:
        """Seven bits in each."""
        message = pb.Command(id=1, publish={"channel": "c", "data": b"x" * length})

        first, second = CODEC.decode(delimited(message.SerializeToString(), b""))

        assert first.publish is not None
        assert len(bytes(first.publish.data)) == length
        assert second == Command()

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\x01",
            b"\x80",
            b"\x05\x08\x01",
            b"\x02\x08\x01\x80",
            b"\xff\xff\xff\xff\x0f",
            b"\x82\x80\x80\x80\x80\x00\x08\x01",
            b"\xff" * 20,
            b'{"id":1,"connect":{}}',
            delimited(b"\x08"),
            delimited(b"\x08\x80"),
            delimited(b"\x08" + b"\xff" * 10 + b"\x01"),
            delimited(b"\x00\x01"),
            delimited(b"\x0b"),
            delimited(b"\x0e\x01"),
            delimited(b"\x22\x05\x0a"),
            delimited(field(6, 2, field(1, 2, b"\xff"))),
            delimited(field(6, 2, field(1, 2, b"\xed\xa0\x80"))),
            delimited(field(1, 0, varint(2**32))),
            delimited(field(1, 0, varint(2**32 + 1)) + field(8, 2, b"")),
            delimited(field(1, 0, varint(2**64 - 1))),
            delimited(b"\x08\x01", b"\x22\x7f"),
        ],
    )
    def test_what_cannot_be_read_ends_the_connection(self, message: bytes) -> None:
        """Truncated and endless varints, lengths beyond the end, bad UTF-8, ids over 32 bits."""
        assert_undecodable(message)

    def test_padded_length_is_read(self) -> None:
        """Protobuf allows a varint that is longer than it need be."""
        (command,) = CODEC.decode(b"\x82\x80\x00\x08\x01")

        assert command.id == 1

    def test_highest_numbers(self) -> None:
        """The edges of 32 and of 64 bits."""
        message = pb.Command(
            id=2**32 - 1, history={"since": {"offset": 2**64 - 1}, "limit": -(2**31)}
        )

        (command,) = CODEC.decode(delimited(message.SerializeToString()))

        assert command.id == 2**32 - 1
        assert command.history is not None
        assert command.history.since == StreamPosition(offset=2**64 - 1)
        assert command.history.limit == -(2**31)

    @pytest.mark.parametrize(
        "unknown",
        [
            field(99, 0, b"\x01"),
            field(99, 1, b"8 bytes."),
            field(99, 2, b"anything"),
            field(99, 5, b"four"),
            field(2, 2, b"reserved"),
        ],
    )
    def test_unknown_fields_are_skipped(self, unknown: bytes) -> None:
        """Newer SDKs send more."""
        inner = field(1, 2, b"c")

        (command,) = CODEC.decode(
            delimited(unknown + b"\x08\x01" + field(6, 2, unknown + inner) + unknown)
        )

        assert command == Command(id=1, unsubscribe=UnsubscribeRequest("c"))

    def test_unknown_request_is_none(self) -> None:
        """The session refuses it, as it does in JSON."""
        (command,) = CODEC.decode(delimited(b"\x08\x01" + field(77, 2, b"")))

        assert command == Command(id=1)

    def test_repeated_request_is_merged(self) -> None:
        """As Protobuf does it: the parts of a message are one message."""
        parts = field(7, 2, field(1, 2, b"a")) + field(7, 2, field(2, 2, b"1"))
        again = field(7, 2, field(1, 2, b"b"))

        (command,) = CODEC.decode(delimited(parts + again))

        assert command.request == PublishRequest("b", Raw(b"1"))

    def test_of_several_requests_the_first_wins(self) -> None:
        """Section 4, step 1: in the protocol's order, not in the message's."""
        message = field(13, 2, b"") + field(4, 2, field(1, 2, b"token"))

        (command,) = CODEC.decode(delimited(message))

        assert command.request == ConnectRequest(token="token")

    def test_deep_nesting_ends_the_connection(self) -> None:
        """Not the process."""
        node = b""
        for _ in range(200):
            node = field(6, 2, node)

        assert_undecodable(delimited(field(5, 2, field(13, 2, node))))

    @given(st.binary(max_size=200))
    def test_any_bytes_are_commands_or_the_end(self, message: bytes) -> None:
        """Nothing else may come of what a client sends."""
        try:
            commands = CODEC.decode(message)
        except Disconnect as end:
            assert end.code == 3501  # noqa: PT017 - one of two ways out
        else:
            assert commands
            assert all(0 <= command.id < 2**32 for command in commands)

    @given(
        st.lists(
            st.tuples(
                st.integers(1, 20), st.sampled_from([0, 1, 2, 5]), st.binary(max_size=30)
            ).map(lambda parts: field(*parts)),
            max_size=5,
        ).map(b"".join)
    )
    def test_any_fields_are_a_command_or_the_end(self, message: bytes) -> None:
        """Well delimited, and mangled within."""
        try:
            (command,) = CODEC.decode(delimited(message))
        except Disconnect as end:
            assert end.code == 3501  # noqa: PT017 - one of two ways out
        else:
            assert isinstance(command, Command)


class TestEncode:
    """Section 2.2: proto3 without zero values, one reply in one binary message."""

    def test_empty_result_is_there(self) -> None:
        """SDKs look for it (section 21.5)."""
        reply = read(CODEC.encode(Reply(id=5, unsubscribe=EMPTY)))

        assert reply.HasField("unsubscribe")
        assert not reply.HasField("publish")

    def test_payload_is_bytes_of_any_kind(self) -> None:
        """Never looked at."""
        data = bytes(range(256))

        assert read(CODEC.encode(Reply(id=1, rpc=RPCResult(Raw(data))))).rpc.data == data

    @pytest.mark.parametrize("length", [0, 1, 120, 127, 128, 16_384, 65_535, 65_536, 3_000_000])
    def test_long_reply_is_still_one_frame(self, length: int) -> None:
        """Lengths of the message and of the frame around it."""
        reply = read(CODEC.encode(Reply(id=1, rpc=RPCResult(Raw(b"x" * length)))))

        assert reply.rpc.data == b"x" * length

    def test_joined_frames_are_messages_of_their_own(self) -> None:
        """The writer joins what is ready; a client sees one message for each reply."""
        frames = CODEC.encode(Reply(id=1, publish=EMPTY)) + CODEC.ping

        assert list(split(frames)) == [(BINARY, b"\x04\x08\x01\x42\x00"), (BINARY, b"\x00")]

    @given(st.builds(SubscribeRequest, channel=st.text(), epoch=st.text()))
    def test_any_text_survives(self, request: SubscribeRequest) -> None:
        """Strings of our own reach the client as they are meant."""
        reply = read(CODEC.encode(Reply(push=Push(channel=request.channel))))

        assert reply.push.channel == request.channel

    def test_payload_for_deltas_is_as_it_is(self) -> None:
        """Raw bytes, patch or full (section 9)."""
        assert CODEC.delta_data(Raw(b"\x00")) == Raw(b"\x00")
        assert CODEC.delta_data(Raw(b"\x00"), b"1\n") == Raw(b"1\n")


class TestGenerated:
    """``client_pb2.py`` is what ``make proto`` makes of ``client.proto``."""

    def test_regenerating_gives_the_same(self, tmp_path: Path) -> None:
        """So nobody edits it, or forgets to run it."""
        folder = Path("ws_gateway/protocol")
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(ROOT / folder / "client.proto", tmp_path / folder)

        subprocess.run(  # noqa: S603 - our own text
            [
                *(sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", "--python_out=."),
                *("--pyi_out=.", str(folder / "client.proto")),
            ],
            cwd=tmp_path,
            check=True,
        )

        for name in ("client_pb2.py", "client_pb2.pyi"):
            assert (tmp_path / folder / name).read_text() == (ROOT / folder / name).read_text()

    def test_every_request_has_a_reader(self) -> None:
        """And sits at the field of its name."""
        for name, _ in protobuf_codec._REQUESTS:
            message = json_format.ParseDict({name: {}}, pb.Command())

            (command,) = CODEC.decode(delimited(message.SerializeToString()))

            assert getattr(command, name) is command.request
