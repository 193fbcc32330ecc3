"""The table of encodings, what each of them promises, and that they say the same.

``vectors/`` has commands and replies in both encodings; their Protobuf was written by the official
Python SDK, as far as it knows the fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from centrifuge.protocol import client_pb2 as sdk
from hypothesis import given, strategies as st
from msgspec import Raw

from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import BINARY, TEXT, split
from ws_gateway.handshake import SUBPROTOCOLS
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.codec import CODECS, JSON, PROTOBUF, Codec
from ws_gateway.protocol.messages import (
    EMPTY,
    REQUEST_NAMES,
    ClientInfo,
    Command,
    Error,
    HistoryResult,
    Publication,
    Push,
    Reply,
)

VECTORS = Path(__file__).parent / "vectors"


def vectors(name: str) -> list[Any]:
    """Return the cases of one file: JSON text, and bytes of Protobuf."""
    cases = json.loads((VECTORS / name).read_text())
    return [
        pytest.param(case["json"], bytes.fromhex(case["protobuf"]), id=case["name"])
        for case in cases
    ]


def delimited(message: bytes) -> bytes:
    """Put its length before a message (protocol section 1)."""
    length, prefix = len(message), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + message


def payload(frame: bytes) -> bytes:
    """Return what is in one frame."""
    ((_, found),) = split(frame)
    return found


def test_each_codec_is_found_by_its_subprotocol() -> None:
    """What the handshake chose names the codec."""
    assert all(codec.subprotocol == name for name, codec in CODECS.items())
    assert CODECS["centrifuge-json"] is JSON
    assert CODECS["centrifuge-protobuf"] is PROTOBUF


def test_no_subprotocol_is_offered_that_cannot_be_spoken() -> None:
    """The handshake answers with one of ours."""
    assert set(SUBPROTOCOLS) == set(CODECS)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
class TestEachCodec:
    """The promises of ``Codec``."""

    @pytest.mark.parametrize("number", [1, 127, 2**32 - 1])
    def test_an_acknowledgement_is_the_reply_it_stands_for(self, codec: Codec, number: int) -> None:
        """Byte for byte."""
        assert codec.acknowledge(number) == codec.encode(Reply(id=number, publish=EMPTY))

    def test_frames_are_of_its_kind(self, codec: Codec) -> None:
        """Binary messages or text ones, never both."""
        opcode = BINARY if codec.binary else TEXT

        for message in (codec.ping, codec.encode(Reply(id=1))):
            ((found, _),) = split(message)
            assert found == opcode

    def test_ping_is_an_empty_reply(self, codec: Codec) -> None:
        """Protocol section 6."""
        assert codec.ping == codec.encode(Reply())

    def test_pong_is_the_same_bytes(self, codec: Codec) -> None:
        """Protocol section 6."""
        assert codec.decode(payload(codec.ping)) == [Command()]

    def test_message_without_a_command_ends_the_connection(self, codec: Codec) -> None:
        """A frame with zero commands is 3501 (protocol section 1)."""
        with pytest.raises(Disconnect) as caught:
            codec.decode(b"")

        assert caught.value.code == 3501

    def test_codec_can_be_a_key(self, codec: Codec) -> None:
        """The hub groups subscribers by it."""
        assert {codec: 1}[codec] == 1

    def test_nothing_is_written_of_an_absent_payload(self, codec: Codec) -> None:
        """A client would read it as an empty one, or not at all."""
        empty = codec.encode(Reply(push=Push(pub=Publication(data=Raw(b"1"), info=None))))
        guest = ClientInfo(user="", client="")

        written = codec.encode(Reply(push=Push(pub=Publication(data=Raw(b"1"), info=guest))))

        assert b"info" not in empty
        assert b"conn_info" not in written


class TestBothEncodings:
    """One set of messages, said in two ways."""

    @pytest.mark.parametrize(("text", "binary"), vectors("commands.json"))
    def test_command_is_read_alike(self, text: str, binary: bytes) -> None:
        """Whatever encoding it came in."""
        (of_json,) = JSON.decode(text.encode())
        (of_protobuf,) = PROTOBUF.decode(delimited(binary))

        assert of_json == of_protobuf
        assert msgspec.json.decode(text, type=Command) == of_json

    @pytest.mark.parametrize(("text", "binary"), vectors("replies.json"))
    def test_reply_is_written_as_in_the_vector(self, text: str, binary: bytes) -> None:
        """Field for field; a repeated run says the same."""
        reply = msgspec.json.decode(text, type=Reply)

        assert payload(JSON.encode(reply)).decode() == text
        assert payload(PROTOBUF.encode(reply)) == delimited(binary)

    def test_every_kind_of_message_has_a_vector(self) -> None:
        """A new one is not forgotten."""
        for name, kind, known in (
            ("commands.json", Command, set(REQUEST_NAMES.values())),
            ("replies.json", Reply, set(Reply.__struct_fields__) - {"id"}),
        ):
            cases = [json.loads(case["json"]) for case in json.loads((VECTORS / name).read_text())]
            assert {key for case in cases for key in case} - {"id"} == known, kind

    @given(
        st.builds(
            Reply,
            id=st.integers(0, 2**32 - 1),
            error=st.none() | st.builds(Error, st.integers(1, 4000), st.text(), st.booleans()),
            publish=st.none() | st.just(EMPTY),
            history=st.none()
            | st.builds(
                HistoryResult,
                publications=st.lists(
                    st.builds(
                        Publication,
                        data=st.integers().map(lambda number: Raw(str(number).encode())),
                        offset=st.integers(0, 2**64 - 1),
                        tags=st.none() | st.dictionaries(st.text(), st.text(), min_size=1),
                        delta=st.booleans(),
                        epoch=st.text(),
                    ),
                    max_size=3,
                ).map(tuple),
                epoch=st.text(),
                offset=st.integers(0, 2**64 - 1),
            ),
        )
    )
    def test_any_reply_says_the_same_in_both(self, reply: Reply) -> None:
        """Read back by the generated code and by the standard library."""
        of_json = json.loads(payload(JSON.encode(reply)))
        encoded = payload(PROTOBUF.encode(reply))
        of_protobuf = pb.Reply.FromString(encoded[-_length(encoded) :] if len(encoded) > 1 else b"")

        assert of_protobuf.id == of_json.get("id", 0)
        assert of_protobuf.HasField("publish") == ("publish" in of_json)
        error = of_json.get("error", {})
        assert of_protobuf.error.message == error.get("message", "")
        assert of_protobuf.error.temporary == error.get("temporary", False)
        history = of_json.get("history", {"publications": [], "offset": 0, "epoch": ""})
        found = of_protobuf.history
        assert (found.offset, found.epoch) == (history["offset"], history["epoch"])
        for publication, expected in zip(found.publications, history["publications"], strict=True):
            assert json.loads(publication.data) == expected["data"]
            assert publication.offset == expected.get("offset", 0)
            assert dict(publication.tags) == expected.get("tags", {})
            assert publication.delta == expected.get("delta", False)
            assert publication.epoch == expected.get("epoch", "")


def _length(encoded: bytes) -> int:
    value = shift = 0
    for byte in encoded:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value


def names(kind: Any) -> set[str]:  # noqa: ANN401 - msgspec's own classes
    """Return the fields of a message."""
    return set(cast("tuple[str, ...]", kind.__struct_fields__))


def test_schema_has_the_messages_fields() -> None:
    """``client.proto`` and ``messages.py`` are the same list, field for field."""
    from ws_gateway.protocol import messages  # noqa: PLC0415 - every class of it

    for name, descriptor in pb.DESCRIPTOR.message_types_by_name.items():
        found = {field.name for field in descriptor.fields}
        assert found == names(getattr(messages, name)), name


@pytest.mark.parametrize("name", sorted(pb.DESCRIPTOR.message_types_by_name))
def test_numbers_are_the_official_ones(name: str) -> None:
    """Only numbers and types are on the wire; what the SDK's older schema lacks is listed."""
    newer = {"Publication.epoch": 14, "SubscribeRequest.type": 15}
    renamed = {"EmptyResult": "UnsubscribeResult", "DisconnectPush": "Disconnect"}
    theirs = sdk.DESCRIPTOR.message_types_by_name[renamed.get(name, name)].fields_by_name

    for field in pb.DESCRIPTOR.message_types_by_name[name].fields:
        other = theirs.get(field.name)
        if other is None:
            assert field.number == newer[f"{name}.{field.name}"]
            continue
        assert field.number == other.number
        assert field.is_repeated == other.is_repeated
        # The command's id is read wider than it is written, so that no number is cut.
        if (name, field.name) != ("Command", "id"):
            assert field.type == other.type
