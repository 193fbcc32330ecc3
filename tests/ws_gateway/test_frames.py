"""Frames: what RFC 6455 section 5 allows comes out whole, all else ends with the right code."""

from __future__ import annotations

import itertools
import secrets
import struct
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st
from websockets import frames as reference

from ws_gateway.codes import DisconnectCode
from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameParser,
    close_frame,
    frame,
    is_close,
    parse_close,
    split,
)

LIMIT = 65_536
FIN, MASKED = 0x80, 0x80
MASK = b"\x01\x02\x03\x04"

Message = tuple[int, bytes]


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a client's frame, as the reference implementation writes it."""
    made = reference.Frame(reference.Opcode(opcode), payload, fin).serialize(mask=True)
    return bytes((made[0] | rsv << 4,)) + made[1:]


def raw(first: int, second: int, rest: bytes = b"") -> bytes:
    """Return a frame that no library would write."""
    return bytes((first, second)) + rest


def parse(*pieces: bytes, limit: int = LIMIT) -> list[Message]:
    """Return what a new parser makes of these pieces."""
    parser = FrameParser(limit)
    return [message for piece in pieces for message in parser.feed(piece)]


def outcome(pieces: Iterable[bytes], limit: int = LIMIT) -> tuple[list[Message], int | None]:
    """Return the messages, and the code of the refusal if there was one."""
    parser = FrameParser(limit)
    messages: list[Message] = []
    try:
        for piece in pieces:
            messages.extend(parser.feed(piece))
    except Disconnect as fault:
        return messages, fault.code
    return messages, None


def refused(*pieces: bytes, limit: int = LIMIT) -> tuple[list[Message], int]:
    """Return what was yielded before the refusal, and its code."""
    messages, code = outcome(pieces, limit)
    assert code is not None
    return messages, code


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a stream at these places."""
    marks = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(marks)]


payloads = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([125, 126, 127, 65_535, 65_536]).map(lambda size: b"x" * size),
)
control_frames = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Message]]:
    """Draw a valid stream of frames, and the messages that it says."""
    stream = bytearray()
    expected: list[Message] = []
    for _ in range(draw(st.integers(1, 4))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        parts = draw(st.lists(st.binary(max_size=30), min_size=1, max_size=4) | payloads.map(_one))
        for index, part in enumerate(parts):
            stream += masked(
                opcode if index == 0 else CONTINUATION, part, fin=index == len(parts) - 1
            )
            if index < len(parts) - 1 and draw(st.booleans()):
                control = draw(control_frames)
                stream += masked(*control)
                expected.append(control)
        expected.append((opcode, b"".join(parts)))
    return bytes(stream), expected


def _one(payload: bytes) -> list[bytes]:
    return [payload]


class TestMessages:
    """RFC 6455 sections 5.2, 5.3 and 5.4."""

    @given(conversations(), st.lists(st.integers(min_value=0), max_size=20))
    def test_messages_do_not_depend_on_how_the_stream_was_cut(
        self, conversation: tuple[bytes, list[Message]], places: list[int]
    ) -> None:
        """TCP has no message boundaries; the same bytes are the same messages."""
        stream, expected = conversation

        assert parse(stream) == expected
        assert parse(*cut(stream, places)) == expected

    def test_stream_may_come_byte_by_byte(self) -> None:
        """Also within the extended length and the masking key."""
        stream = masked(TEXT, b"a") + masked(BINARY, b"b" * 200) + masked(TEXT, b"c" * 65_536)

        messages = parse(*(stream[i : i + 1] for i in range(len(stream))))

        assert messages == [(TEXT, b"a"), (BINARY, b"b" * 200), (TEXT, b"c" * 65_536)]

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
    def test_every_length_encoding_is_read(self, size: int) -> None:
        """Section 5.2: 7, 7+16 and 7+64 bits."""
        payload = secrets.token_bytes(size)

        assert parse(masked(BINARY, payload)) == [(BINARY, payload)]

    def test_the_mask_is_taken_off(self) -> None:
        """Section 5.7: the example of the RFC."""
        hello = bytes.fromhex("818537fa213d7f9f4d5158")

        assert parse(hello) == [(TEXT, b"Hello")]

    def test_fragments_become_one_message_of_the_first_opcode(self) -> None:
        """Section 5.4."""
        stream = masked(BINARY, b"a", fin=False) + masked(CONTINUATION, b"b", fin=False)

        assert parse(stream, masked(CONTINUATION, b"c")) == [(BINARY, b"abc")]

    def test_empty_fragments_are_fragments(self) -> None:
        """Section 5.4 names no least size."""
        stream = masked(TEXT, fin=False) + masked(CONTINUATION, fin=False) + masked(CONTINUATION)

        assert parse(stream) == [(TEXT, b"")]

    def test_control_frame_between_fragments_is_seen_at_once(self) -> None:
        """Section 5.4: control frames may be injected, and are not fragments themselves."""
        parser = FrameParser(LIMIT)

        first = list(parser.feed(masked(TEXT, b"a", fin=False) + masked(PING, b"p")))
        second = list(parser.feed(masked(CONTINUATION, b"b")))

        assert first == [(PING, b"p")]
        assert second == [(TEXT, b"ab")]

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_control_frame_may_hold_125_bytes(self, opcode: int) -> None:
        """Section 5.5."""
        assert parse(masked(opcode, b"x" * 125)) == [(opcode, b"x" * 125)]

    def test_a_new_message_may_follow_a_fragmented_one(self) -> None:
        """The state of the last message is forgotten."""
        stream = masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b") + masked(TEXT, b"c")

        assert parse(stream) == [(TEXT, b"ab"), (TEXT, b"c")]

    def test_nothing_comes_of_nothing(self) -> None:
        """An empty read is no message."""
        assert parse(b"", b"") == []


class TestViolations:
    """RFC 6455 sections 5.1, 5.2, 5.4 and 5.5: 1002."""

    @pytest.mark.parametrize(
        "frames",
        [
            pytest.param([raw(FIN | TEXT, 1, b"a")], id="unmasked"),
            pytest.param([raw(FIN | PING, 0)], id="unmasked control"),
            *(pytest.param([masked(TEXT, b"a", rsv=bit)], id=f"RSV {bit}") for bit in (1, 2, 4)),
            pytest.param([masked(PING, rsv=4)], id="RSV on control"),
            *(
                pytest.param([raw(FIN | opcode, MASKED, MASK)], id=f"opcode {opcode:x}")
                for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)
            ),
            *(
                pytest.param([raw(opcode, MASKED, MASK)], id=f"fragmented control {opcode:x}")
                for opcode in (CLOSE, PING, PONG)
            ),
            *(
                pytest.param(
                    [raw(FIN | opcode, MASKED | 126, b"\x00\x7e" + MASK)], id=f"long {opcode:x}"
                )
                for opcode in (CLOSE, PING, PONG)
            ),
            pytest.param([raw(FIN | PING, MASKED | 127)], id="control of 64 bit length"),
            pytest.param([masked(CONTINUATION, b"a")], id="continuation of nothing"),
            pytest.param([masked(CONTINUATION, b"a", fin=False)], id="fragment of nothing"),
            pytest.param([masked(TEXT, b"a", fin=False), masked(TEXT, b"b")], id="text inside"),
            pytest.param(
                [masked(TEXT, b"a", fin=False), masked(BINARY, b"b", fin=False)], id="start inside"
            ),
            pytest.param(
                [masked(TEXT, fin=False), masked(BINARY)], id="text inside an empty fragment"
            ),
        ],
    )
    def test_what_section_5_forbids_is_a_protocol_error(self, frames: list[bytes]) -> None:
        """W9."""
        assert refused(*frames) == ([], DisconnectCode.PROTOCOL_ERROR)
        assert refused(*(bytes((byte,)) for byte in b"".join(frames))) == (
            [],
            DisconnectCode.PROTOCOL_ERROR,
        )

    def test_what_came_before_is_yielded(self) -> None:
        """A fault does not take back the messages in front of it."""
        messages, code = refused(masked(TEXT, b"a") + masked(PING) + raw(FIN | TEXT, 0))

        assert messages == [(TEXT, b"a"), (PING, b"")]
        assert code == DisconnectCode.PROTOCOL_ERROR

    def test_header_alone_is_enough_for_a_refusal(self) -> None:
        """Nobody waits for the rest of what is wrong already."""
        assert refused(raw(FIN | TEXT, 127)) == ([], DisconnectCode.PROTOCOL_ERROR)

    @given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=5))
    def test_any_bytes_are_messages_or_one_refusal(self, stream: bytes, places: list[int]) -> None:
        """No bytes raise anything else, and the cut plays no part in what they are."""
        whole = outcome([stream])

        assert outcome(cut(stream, places)) == whole

    @given(
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=12)), max_size=6
        )
    )
    def test_any_headers_are_messages_or_one_refusal(
        self, pieces: list[tuple[int, int, bytes]]
    ) -> None:
        """The same for bytes that resemble frames."""
        code = outcome([raw(first, second, rest) for first, second, rest in pieces], limit=100)[1]

        assert code in {None, DisconnectCode.PROTOCOL_ERROR, DisconnectCode.MESSAGE_TOO_BIG}


class TestWholeMessages:
    """What nearly always comes is read without ado, and is what it would be otherwise."""

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 255, 256, LIMIT - 1])
    def test_one_text_message_alone_is_taken(self, size: int) -> None:
        """Of both short length encodings."""
        payload = secrets.token_bytes(size)

        assert FrameParser(LIMIT).take_whole(masked(TEXT, payload)) == payload

    @pytest.mark.parametrize(
        "data",
        [
            masked(TEXT, b"a") * 2,
            masked(TEXT, b"a") + b"\x81",
            masked(TEXT, b"a")[:-1],
            masked(TEXT, b"a", fin=False),
            masked(TEXT, b"a", rsv=4),
            masked(BINARY, b"a"),
            masked(PING, b"a"),
            masked(TEXT, bytes(LIMIT + 1)),
            raw(FIN | TEXT, 1, MASK + b"a"),
            raw(FIN | TEXT, MASKED | 127, bytes(127) + MASK),
            raw(FIN | TEXT, MASKED | 126, b"\0"),
        ],
        ids=range(11),
    )
    def test_all_else_is_left_for_the_parser(self, data: bytes) -> None:
        """More or less than one, another kind, and what is forbidden."""
        assert FrameParser(LIMIT).take_whole(data) is None

    @pytest.mark.parametrize(
        "before", [masked(TEXT, b"a", fin=False), masked(TEXT, b"a")[:3]], ids=["message", "frame"]
    )
    def test_what_continues_something_is_left_for_the_parser(self, before: bytes) -> None:
        """A fragmented message, or a frame that has not come whole."""
        parser = FrameParser(LIMIT)
        assert list(parser.feed(before)) == []

        assert parser.take_whole(masked(TEXT, b"b")) is None

    @given(
        st.sampled_from([FIN | TEXT, FIN | BINARY, TEXT, FIN | TEXT | 0x40]),
        st.integers(0, 255),
        st.binary(max_size=300),
    )
    def test_what_is_taken_is_what_the_parser_reads(
        self, first: int, second: int, rest: bytes
    ) -> None:
        """Whatever the header says."""
        data = raw(first, second, rest)

        whole = FrameParser(200).take_whole(data)

        assert whole is None or outcome([data], 200) == ([(TEXT, whole)], None)


class TestLimit:
    """1009 as soon as the length is known, and no memory for what is not accepted (W11)."""

    def test_message_of_the_limit_is_accepted(self) -> None:
        """The limit is the largest size allowed."""
        assert parse(masked(TEXT, b"x" * 1000), limit=1000) == [(TEXT, b"x" * 1000)]

    def test_one_byte_more_is_too_big(self) -> None:
        """And nothing of it is yielded."""
        assert refused(masked(TEXT, b"x" * 1001), limit=1000) == (
            [],
            DisconnectCode.MESSAGE_TOO_BIG,
        )

    def test_fragments_are_summed(self) -> None:
        """Each alone would be within the limit."""
        fragments = [masked(TEXT, b"x" * 600, fin=False), masked(CONTINUATION, b"x" * 401)]

        assert refused(*fragments, limit=1000) == ([], DisconnectCode.MESSAGE_TOO_BIG)

    def test_fragments_up_to_the_limit_are_accepted(self) -> None:
        """The sum is exact."""
        fragments = [masked(TEXT, b"x" * 600, fin=False), masked(CONTINUATION, b"x" * 400)]

        assert parse(*fragments, limit=1000) == [(TEXT, b"x" * 1000)]

    def test_each_message_has_the_whole_limit(self) -> None:
        """What one message took is given back."""
        fragments = [masked(TEXT, b"x" * 600, fin=False), masked(CONTINUATION, b"x" * 400)]

        assert len(parse(*fragments, *fragments, limit=1000)) == 2

    def test_control_frames_do_not_count(self) -> None:
        """A ping inside a message of the full size."""
        stream = [masked(TEXT, b"x" * 1000, fin=False), masked(PING, b"p" * 125)]

        assert parse(*stream, masked(CONTINUATION), limit=1000)[-1] == (TEXT, b"x" * 1000)

    @pytest.mark.parametrize("length", [2**40, 2**63, 2**64 - 1])
    def test_huge_announcement_is_refused_at_once_and_for_nothing(self, length: int) -> None:
        """Ten bytes are enough to refuse it, and none are set aside for the payload."""
        announcement = raw(FIN | TEXT, MASKED | 127, struct.pack("!Q", length))

        tracemalloc.start()
        try:
            result = refused(announcement)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert result == ([], DisconnectCode.MESSAGE_TOO_BIG)
        assert peak < 100_000

    def test_announcement_within_the_limit_takes_only_what_came(self) -> None:
        """A slow sender costs what it has sent."""
        parser = FrameParser(2**24)

        tracemalloc.start()
        try:
            messages = list(parser.feed(raw(FIN | TEXT, MASKED | 127, struct.pack("!Q", 2**24))))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert messages == []
        assert peak < 100_000

    def test_empty_continuations_take_nothing(self) -> None:
        """W13: a flood of them is no message, and is not kept."""
        parser = FrameParser(1000)
        list(parser.feed(masked(TEXT, fin=False)))
        flood = masked(CONTINUATION, fin=False) * 10_000

        assert list(parser.feed(flood)) == []
        assert len(parser._fragments or b"") == 0
        assert parser._buffer is None


class TestOwnFrames:
    """What the server writes."""

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @given(payload=payloads)
    def test_frame_is_what_the_reference_writes(self, opcode: int, payload: bytes) -> None:
        """Section 5.2; a server does not mask (section 5.1)."""
        expected = reference.Frame(reference.Opcode(opcode), payload).serialize(mask=False)

        assert frame(opcode, payload) == expected

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_control_frame_is_what_the_reference_writes(self, opcode: int) -> None:
        """Every length a control frame can have."""
        for size in range(126):
            payload = b"x" * size
            expected = reference.Frame(reference.Opcode(opcode), payload).serialize(mask=False)
            assert frame(opcode, payload) == expected

    @given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), payloads), max_size=5))
    def test_joined_frames_come_apart_again(self, messages: list[Message]) -> None:
        """Plain ASGI takes them one by one."""
        joined = b"".join(frame(opcode, payload) for opcode, payload in messages)

        assert list(split(joined)) == messages


class TestClose:
    """RFC 6455 sections 5.5.1 and 7.4."""

    def test_close_frame_is_what_the_reference_writes(self) -> None:
        """Code, then reason."""
        payload = reference.Close(3001, "shutdown").serialize()
        expected = reference.Frame(reference.Opcode.CLOSE, payload).serialize(mask=False)

        assert close_frame(3001, "shutdown") == expected

    @given(st.text(max_size=200))
    def test_long_reason_is_cut_between_characters(self, reason: str) -> None:
        """The payload is at most 125 bytes, and valid UTF-8 behind the code."""
        ((opcode, payload),) = split(close_frame(3000, reason))
        said = payload[2:].decode()

        assert opcode == CLOSE
        assert len(payload) <= 125
        assert reason.startswith(said)
        assert said == reason or len(payload) > 121

    @pytest.mark.parametrize("payload", [b"", b"\x03\xea", b"\x03\xea" + bytes(123)])
    def test_a_whole_close_frame_of_a_client_is_one(self, payload: bytes) -> None:
        """Whatever it says."""
        assert is_close(masked(CLOSE, payload))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x88",
            masked(CLOSE)[:-1],
            masked(CLOSE) + b"\x88",
            masked(TEXT, b"a") + masked(CLOSE),
            masked(PING),
            close_frame(1000, ""),
            raw(FIN | CLOSE, MASKED | 126, b"\0\x7e" + MASK + bytes(126)),
        ],
        ids=range(8),
    )
    def test_less_or_more_than_a_close_frame_is_none(self, data: bytes) -> None:
        """Nor is another's, an unmasked one, or one that is longer than may be."""
        assert not is_close(data)

    def test_close_without_a_code_is_1005(self) -> None:
        """Section 7.1.5."""
        assert parse_close(b"") == 1005

    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999]
    )
    def test_defined_code_is_read(self, code: int) -> None:
        """Sections 7.4.1 and 7.4.2."""
        assert parse_close(code.to_bytes(2, "big") + "größer".encode()) == code

    @pytest.mark.parametrize(
        "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
    )
    def test_code_that_may_not_be_sent_is_a_protocol_error(self, code: int) -> None:
        """Section 7.4: reserved, never sent, or undefined."""
        with pytest.raises(Disconnect) as caught:
            parse_close(code.to_bytes(2, "big"))

        assert caught.value.code == DisconnectCode.PROTOCOL_ERROR

    def test_half_a_code_is_a_protocol_error(self) -> None:
        """Section 5.5.1: the body, if there is one, begins with two bytes."""
        with pytest.raises(Disconnect) as caught:
            parse_close(b"\x03")

        assert caught.value.code == DisconnectCode.PROTOCOL_ERROR

    def test_reason_that_is_not_utf8_is_1007(self) -> None:
        """Section 5.5.1 says UTF-8, section 8.1 what follows."""
        with pytest.raises(Disconnect) as caught:
            parse_close(b"\x03\xe8\xff")

        assert caught.value.code == DisconnectCode.INVALID_UTF8

    @given(st.binary(max_size=125))
    def test_any_payload_is_a_code_or_one_refusal(self, payload: bytes) -> None:
        """No payload raises anything else."""
        code: int
        try:
            code = parse_close(payload)
        except Disconnect as fault:
            code = fault.code

        assert 1000 <= code < 5000
        assert code not in {1004, 1006, 1015}


class TestCompressed:
    """RFC 7692 section 6: RSV1 on the first frame of a message, where it was agreed on."""

    TEXT_ = b"word " * 1000
    SHORT = zlib.compress(TEXT_, wbits=-15)

    def parse(self, *pieces: bytes, inflates: bool = True) -> list[Message]:
        """Return what a parser makes of these pieces."""
        parser = FrameParser(LIMIT, inflates=inflates)
        return [message for piece in pieces for message in parser.feed(piece)]

    def test_messages_of_both_kinds_may_be_mixed(self) -> None:
        """Each says of itself which it is."""
        stream = (
            masked(TEXT, self.SHORT, rsv=4)
            + masked(TEXT, b"plain")
            + masked(BINARY, self.SHORT, rsv=4)
            + masked(PING, b"p")
        )

        assert self.parse(*(bytes((byte,)) for byte in stream)) == [
            (TEXT, self.TEXT_),
            (TEXT, b"plain"),
            (BINARY, self.TEXT_),
            (PING, b"p"),
        ]

    def test_a_compressed_message_may_come_in_fragments(self) -> None:
        """It is one message, with others' control frames between."""
        half = len(self.SHORT) // 2
        pieces = (
            masked(BINARY, self.SHORT[:half], fin=False, rsv=4),
            masked(PING, b"p"),
            masked(CONTINUATION, self.SHORT[half:]),
            masked(TEXT, b"plain"),
        )

        assert self.parse(*pieces) == [(PING, b"p"), (BINARY, self.TEXT_), (TEXT, b"plain")]

    @pytest.mark.parametrize(
        ("frame_", "inflates"),
        [
            (masked(TEXT, SHORT, rsv=4), False),
            (masked(TEXT, SHORT, rsv=2), True),
            (masked(TEXT, SHORT, rsv=6), True),
            (masked(PING, b"p", rsv=4), True),
            (masked(CLOSE, b"", rsv=4), True),
            (masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b", rsv=4), True),
            (masked(TEXT, b"\xff\xff", rsv=4), True),
        ],
        # Not the frames: their masks are random, and each process makes its own.
        ids=["not agreed", "rsv2", "rsv1 and rsv2", "ping", "close", "continuation", "garbage"],
    )
    def test_elsewhere_the_bit_is_an_error(self, frame_: bytes, inflates: bool) -> None:
        """And so is what cannot be inflated."""
        with pytest.raises(Disconnect) as refused:
            self.parse(frame_, inflates=inflates)

        assert refused.value.code == DisconnectCode.PROTOCOL_ERROR

    @pytest.mark.parametrize("fragments", [1, 2])
    def test_a_bomb_is_too_big(self, fragments: int) -> None:
        """W12: whatever it was packed into."""
        bomb = zlib.compress(b"A" * (LIMIT + 1), wbits=-15)
        pieces = [masked(TEXT, bomb, rsv=4)]
        if fragments > 1:
            pieces = [masked(TEXT, bomb[:9], fin=False, rsv=4), masked(CONTINUATION, bomb[9:])]
        with pytest.raises(Disconnect) as refused:
            self.parse(*pieces)

        assert refused.value.code == DisconnectCode.MESSAGE_TOO_BIG
