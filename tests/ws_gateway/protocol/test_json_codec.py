"""The JSON encoding (protocol sections 1 and 2.1), read back by the standard library's parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import TEXT, split
from ws_gateway.protocol.json_codec import JSONCodec
from ws_gateway.protocol.messages import (
    EMPTY,
    ClientInfo,
    Command,
    ConnectResult,
    Error,
    HistoryResult,
    Publication,
    PublishRequest,
    Push,
    RefreshResult,
    Reply,
    RPCResult,
    SubscribeRequest,
    SubscribeResult,
)
from ws_gateway.protocol.payload import read_json

CODEC = JSONCodec()

TEXT_CHARACTERS = st.characters(exclude_categories=["Cs"])
"""Lone surrogates are no text."""
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXT_CHARACTERS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(TEXT_CHARACTERS), inner),
    max_leaves=10,
)


def payload(frame: bytes) -> bytes:
    """Return the text of one frame."""
    ((opcode, text),) = split(frame)
    assert opcode == TEXT
    return text


def written(reply: Reply) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a client reads of a reply."""
    return json.loads(payload(CODEC.encode(reply)))


def assert_undecodable(message: bytes) -> None:
    """See that a message ends the connection."""
    with pytest.raises(Disconnect) as caught:
        CODEC.decode(message)
    assert caught.value.code == 3501


class TestDecode:
    """Section 1: commands separated by one newline, and nothing else."""

    def test_one_command(self) -> None:
        """The usual message."""
        message = b'{"id":1,"publish":{"channel":"c","data":{"x": [1, 2]}}}'

        (command,) = CODEC.decode(message)

        assert command.id == 1
        assert command.publish is not None
        assert command.publish.channel == "c"
        assert bytes(command.publish.data) == b'{"x": [1, 2]}'

    def test_commands_are_kept_in_order(self) -> None:
        """JS sends ``connect`` and the first subscribes in one message (section 4)."""
        message = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"c"}}\n{}'

        assert [command.id for command in CODEC.decode(message)] == [1, 2, 0]

    @pytest.mark.parametrize("message", [b"{}\n", b'{"id":1}\n{}\n', b" {} ", b"{}\r\n{}"])
    def test_trailing_newline_is_tolerated(self, message: bytes) -> None:
        """So is white space around an object, which JSON allows."""
        assert CODEC.decode(message)[-1] == Command()

    @pytest.mark.parametrize(
        "message", [b"", b"\n", b"\n{}", b"{}\n\n", b"{}\n\n{}", b" ", b"{}\n "]
    )
    def test_blank_line_ends_the_connection(self, message: bytes) -> None:
        """Section 1: a decode error, like a message with no command at all."""
        assert_undecodable(message)

    @pytest.mark.parametrize(
        "message",
        [
            b"null",
            b"[]",
            b"1",
            b'"connect"',
            b"true",
            b"NaN",
            b"{",
            b"{}}",
            b"{}{}",
            b"{'id':1}",
            b'{"id":1,}',
            b'{"id":01}',
            b"\xef\xbb\xbf{}",
            b"\x00",
            b'{"id":1,"publish":{"data":NaN}}',
            b'{"id":1,"publish":{"data":Infinity}}',
            b'{"id":1,"publish":{"data":\n1}}',
            b'{"id":1,"publish":{"data":tru}}',
            b'{"id":1,"publish":{"data":"\x01"}}',
            b'{"id":"1"}',
            b'{"id":1.5}',
            b'{"id":1.0}',
            b'{"id":null}',
            b'{"id":true}',
            b'{"id":-1}',
            b'{"id":4294967296}',
            b'{"connect":[]}',
            b'{"connect":{"token":1}}',
            b'{"subscribe":{"channel":null}}',
            b'{"subscribe":{"channel":["a"]}}',
            b'{"subscribe":{"channel":"\\ud800"}}',
            b'{"subscribe":{"channel":"c","recover":1}}',
            b'{"subscribe":{"channel":"c","offset":-1}}',
            b'{"subscribe":{"channel":"c","offset":1e400}}',
            b'{"subscribe":{"channel":"c","flag":9223372036854775808}}',
            b'{"subscribe":{"channel":"c","type":2147483648}}',
            b'{"history":{"channel":"c","limit":-2147483649}}',
            b'{"id":1} // comment',
            b'{"id":1,"publish":{"channel":"\xff"}}',
            b"\xff\xfe{\x00}\x00",
        ],
    )
    def test_what_cannot_be_read_ends_the_connection(self, message: bytes) -> None:
        """Section 1: an undecodable frame is 3501."""
        assert_undecodable(message)

    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_deep_nesting_ends_the_connection(self, opening: bytes) -> None:
        """Not the process: 60 kB of brackets are a RecursionError to a careless parser."""
        assert_undecodable(b'{"id":1,"publish":{"data":' + opening * (60_000 // len(opening)))
        assert_undecodable(opening * (60_000 // len(opening)))
        assert_undecodable(b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}")

    def test_unknown_fields_are_skipped(self) -> None:
        """Newer SDKs send more; of a doubled one the last counts."""
        (command,) = CODEC.decode(b'{"id":1,"new":{"a":[1e999]},"id":2,"rpc":{"method":"m","x":1}}')

        assert command.id == 2
        assert command.rpc is not None
        assert command.rpc.method == "m"

    def test_request_may_be_null(self) -> None:
        """Some encoders write absent fields so."""
        (command,) = CODEC.decode(b'{"id":1,"connect":null,"rpc":{}}')

        assert command.connect is None
        assert command.rpc is not None

    @given(st.binary(max_size=200))
    def test_any_bytes_are_commands_or_the_end(self, message: bytes) -> None:
        """Nothing else may come of what a client sends."""
        try:
            commands = CODEC.decode(message)
        except Disconnect as end:
            assert end.code == 3501  # noqa: PT017 - one of two ways out
        else:
            assert commands

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(["id", "connect", "subscribe", "publish", "rpc", "refresh", "x"]),
                JSON_VALUES
                | st.dictionaries(
                    st.sampled_from(["channel", "data", "token", "offset", "method"]), JSON_VALUES
                ),
            ),
            min_size=1,
            max_size=3,
        )
    )
    def test_any_objects_are_commands_or_the_end(self, objects: list[dict[str, Any]]) -> None:
        """As many as there are lines; a payload comes out byte for byte."""
        lines = [json.dumps(value) for value in objects]

        try:
            commands = CODEC.decode("\n".join(lines).encode())
        except Disconnect as end:
            assert end.code == 3501  # noqa: PT017 - one of two ways out
            return
        assert len(commands) == len(lines)
        for command, value in zip(commands, objects, strict=True):
            if command.publish is not None and "data" in value["publish"]:
                assert bytes(command.publish.data) == json.dumps(value["publish"]["data"]).encode()


class TestHalfCharacters:
    """A text cut in the middle of an emoji: a mistake in one command, not of the protocol."""

    @pytest.mark.parametrize(
        "data",
        [
            r'"\ud83d"',
            r'"\uDE00"',
            r'{"\ud800":1}',
            r'["\ud83d\ude00", "\ud83d"]',
            r'"\ud83d\u0041"',
            r'"\ufffd\ud83d"',
            r'"\\\ud83d"',
        ],
    )
    @pytest.mark.parametrize("command", ["publish", "rpc"])
    def test_the_command_has_a_payload_that_no_check_passes(self, command: str, data: str) -> None:
        """So that it fails with 107, and the other commands of the message do not."""
        line = '{"id":7,"%s":{"data":%s}}' % (command, data)  # noqa: UP031 - braces
        other = '{"id":8,"rpc":{"data":"\U0001f600"}}'

        found, after = CODEC.decode(f"{line}\n{other}\n".encode())

        assert found.id == 7
        payload = getattr(found, command).data
        assert payload
        assert read_json(payload) is None
        assert after.rpc is not None
        assert bytes(after.rpc.data) == '"\U0001f600"'.encode()

    @pytest.mark.parametrize(
        "message",
        [
            r'{"id":1,"publish":{"channel":"\ud83d"}}',
            r'{"id":1,"publish":{"channel":"\ud83d","data":"\ud83d"}}',
            r'{"id":1,"publish":{"channel":"c","data":"\ud83d"},"x":"\ud83d"}',
            r'{"id":1,"\ud83d":1}',
            r'{"id":1,"publish":{"data":"\ud83d"}',
            r'{"id":1,"publish":{"data":"\ud83"}}',
            r'{"id":1,"publish":{"data":"\ud83d"},"id":null}',
            r'"\ud83d"',
        ],
    )
    def test_elsewhere_it_ends_the_connection(self, message: str) -> None:
        """A name must be text; and what else is unreadable stays so."""
        assert_undecodable(message.encode())

    @given(JSON_VALUES, st.characters(categories=["Cs"]))
    def test_any_payload_with_one(self, value: object, half: str) -> None:
        """As the standard library and browsers write it."""
        message = json.dumps({"id": 1, "publish": {"channel": "c", "data": [value, half]}})

        (command,) = CODEC.decode(message.encode())

        assert command.id == 1
        assert command.publish is not None
        assert command.publish.channel == "c"
        assert read_json(command.publish.data) is None


BINARY = Publication(Raw(b'1}},"error":{"code":1,"message":"'))
INFO = ClientInfo(user="alice", client="c-1", conn_info=Raw(b'{"name":"Alice"}'))


class TestEncode:
    """Section 2.1: field names, zero values, raw payloads."""

    @pytest.mark.parametrize(
        ("reply", "text"),
        [
            (Reply(), "{}"),
            (Reply(id=5, unsubscribe=EMPTY), '{"id":5,"unsubscribe":{}}'),
            (Reply(id=6, publish=EMPTY), '{"id":6,"publish":{}}'),
            (Reply(id=2, subscribe=SubscribeResult()), '{"id":2,"subscribe":{}}'),
            (
                Reply(id=3, error=Error(code=103, message="permission denied")),
                '{"id":3,"error":{"code":103,"message":"permission denied"}}',
            ),
            (
                Reply(error=Error(code=100, message="internal server error", temporary=True)),
                '{"error":{"code":100,"message":"internal server error","temporary":true}}',
            ),
            (
                Reply(
                    id=1,
                    connect=ConnectResult(
                        client="c-1",
                        version="1",
                        subs={"dm:#a": SubscribeResult()},
                        ping=25,
                        pong=True,
                        node="n-1",
                    ),
                ),
                (
                    '{"id":1,"connect":{"client":"c-1","version":"1","subs":{"dm:#a":{}},'
                    '"ping":25,"pong":true,"node":"n-1"}}'
                ),
            ),
            (
                Reply(id=1, connect=ConnectResult(client="c", version="1", expires=True, ttl=9)),
                '{"id":1,"connect":{"client":"c","version":"1","expires":true,"ttl":9}}',
            ),
            (
                Reply(id=9, refresh=RefreshResult(client="c", version="1", expires=True, ttl=1)),
                '{"id":9,"refresh":{"client":"c","version":"1","expires":true,"ttl":1}}',
            ),
            (
                Reply(push=Push(channel="c", pub=Publication(data=Raw(b"1"), info=INFO))),
                (
                    '{"push":{"channel":"c","pub":{"data":1,"info":{"user":"alice","client":"c-1",'
                    '"conn_info":{"name":"Alice"}}}}}'
                ),
            ),
            (
                Reply(
                    push=Push(
                        channel="c",
                        pub=Publication(
                            data=Raw(b"null"), info=ClientInfo(user="", client=""), offset=2**64 - 1
                        ),
                    )
                ),
                (
                    '{"push":{"channel":"c","pub":{"data":null,"info":{"user":"","client":""},'
                    '"offset":18446744073709551615}}}'
                ),
            ),
            (Reply(id=4, rpc=RPCResult(data=Raw(b"[]"))), '{"id":4,"rpc":{"data":[]}}'),
        ],
    )
    def test_reply_is_the_protocols(self, reply: Reply, text: str) -> None:
        """Zero values are left out, but user and client of an info, and empty results, are not."""
        assert payload(CODEC.encode(reply)).decode() == text

    @given(JSON_VALUES, st.sampled_from([None, 0, 1]))
    def test_payload_is_embedded_byte_for_byte(self, value: object, indent: int | None) -> None:
        """Checked once, never parsed and written again (design section 1)."""
        data = json.dumps(value, indent=indent).replace("\n", "\r").encode()
        reply = Reply(push=Push(channel="c", pub=Publication(data=Raw(data))))

        text = payload(CODEC.encode(reply))

        assert text == b'{"push":{"channel":"c","pub":{"data":' + data + b"}}}"
        assert json.loads(text)["push"]["pub"]["data"] == value

    @given(st.text(TEXT_CHARACTERS), st.integers(0, 2**32 - 1))
    def test_any_text_survives(self, text: str, number: int) -> None:
        """Strings of our own are escaped so that a client reads what was meant."""
        reply = Reply(id=number, error=Error(code=number, message=text))

        found = written(reply)

        assert found.get("id", 0) == number
        assert found["error"] == {"code": number, "message": text}

    @given(JSON_VALUES, st.text(TEXT_CHARACTERS))
    def test_no_frame_holds_a_raw_newline(self, value: object, channel: str) -> None:
        """Section 1: SDKs split at it. A command's payload never does, since the split is ours."""
        message = json.dumps({"id": 1, "publish": {"channel": channel, "data": value}}).encode()
        (command,) = CODEC.decode(message)
        assert command.publish is not None

        frame = CODEC.encode(
            Reply(push=Push(channel=channel, pub=Publication(data=command.publish.data)))
        )

        assert b"\n" not in payload(frame)

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(push=Push(channel="c", pub=BINARY)),
            Reply(id=1, history=HistoryResult((Publication(Raw(b"1")), BINARY), "e", 2)),
            Reply(id=1, subscribe=SubscribeResult(publications=(BINARY,))),
            Reply(
                id=1,
                connect=ConnectResult(
                    "c", "1", subs={"c": SubscribeResult(publications=(BINARY,))}
                ),
            ),
        ],
    )
    def test_publication_that_is_no_json_is_3506(self, reply: Reply) -> None:
        """Wherever one is handed out (section 2.1)."""
        with pytest.raises(Disconnect) as caught:
            CODEC.encode(reply)

        assert caught.value.code == 3506

    def test_long_reply_is_still_one_frame(self) -> None:
        """Lengths of 16 and of 64 bits (RFC 6455 section 5.2)."""
        for length in (125, 126, 65_535, 65_536, 200_000):
            data = json.dumps("x" * length).encode()

            reply = written(Reply(id=1, rpc=RPCResult(data=Raw(data))))

            assert reply == {"id": 1, "rpc": {"data": "x" * length}}


@given(JSON_VALUES)
def test_payload_for_deltas_is_a_string(value: object) -> None:
    """Its content is the JSON text, byte for byte (section 9)."""
    text = json.dumps(value, ensure_ascii=False).encode()

    wrapped = bytes(CODEC.delta_data(Raw(text)))

    assert json.loads(wrapped).encode() == text


def test_patch_is_a_string_too() -> None:
    """In place of the payload (section 9)."""
    assert json.loads(bytes(CODEC.delta_data(Raw(b"1"), '1\n"ä"'.encode()))) == '1\n"ä"'


@pytest.mark.parametrize("change", [None, b"1"])
def test_payload_that_is_no_json_has_no_patch_either(change: bytes | None) -> None:
    """Its client could not make anything of either (section 2.1)."""
    with pytest.raises(Disconnect) as refused:
        CODEC.delta_data(Raw(b"\x00"), change)

    assert refused.value.code == 3506


def test_requests_default_to_nothing() -> None:
    """An absent field is its zero value (section 2.1)."""
    (command,) = CODEC.decode(b'{"subscribe":{},"publish":{}}')

    assert command == Command(subscribe=SubscribeRequest(), publish=PublishRequest())
