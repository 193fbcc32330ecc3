"""Payloads that reach the parsers of clients we do not know."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from ws_gateway.protocol.payload import fits_line, read_json

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


def good(data: bytes) -> bool:
    """Whether a payload is taken, and if so, byte for byte but for its line breaks."""
    found = read_json(Raw(data))
    assert found is None or bytes(found) == data.replace(b"\n", b" ")
    return found is not None


class TestReadJSON:
    """A payload reaches other clients' parsers as it came."""

    @pytest.mark.parametrize(
        "data",
        [
            b"null",
            b"true",
            b"-0",
            b"1.5e300",
            b"1e-999",
            b'"text"',
            b"[]",
            b"{}",
            b'{"a":1,"a":2}',
            b'"\\ud83d\\ude00"',
            '"é \u2028"'.encode(),
            b" {\t} \r",
            b"18446744073709551615",
            b"-9223372036854775808",
            b"[" * 60 + b"]" * 60,
        ],
    )
    def test_json_is_good(self, data: bytes) -> None:
        """Whatever it means; doubled keys are the application's business."""
        assert good(data)
        json.loads(data)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b" ",
            b"1e999",
            b"-1e999",
            b'{"a":[1e999]}',
            b"1" * 5000,
            b"-" + b"1" * 5000,
            b"1" * 5000 + b".5",
            b"NaN",
            b"Infinity",
            b"'a'",
            b"\xef\xbb\xbf1",
            b'"\\ud800"',
            b'"\\udc00"',
            b'{"\\ud800":1}',
            b'"\\ud800\\u0041"',
            b'"\x01"',
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b"1 2",
            b"[1,]",
            b"[" * 30_000 + b"]" * 30_000,
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        ],
    )
    def test_what_a_receiver_may_choke_on_is_refused(self, data: bytes) -> None:
        """Numbers no double holds, lone surrogates, deep nesting, and what is no JSON."""
        assert not good(data)

    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
    def test_nesting_that_some_parsers_refuse_is_refused(
        self, opening: bytes, closing: bytes
    ) -> None:
        """.NET's parser takes 64 levels by default, and a push puts a few around the payload."""
        assert good(opening * 60 + b"1" + closing * 60)
        assert not good(opening * 61 + b"1" + closing * 61)

    def test_brackets_in_strings_and_side_by_side_are_no_nesting(self) -> None:
        """Only depth counts."""
        assert good(json.dumps(["[{" * 100, '\\"[' * 100]).encode())
        assert good(b"[" + b"[]," * 200 + b"{}]")

    @given(JSON_VALUES)
    def test_what_the_standard_library_writes_is_good(self, value: object) -> None:
        """No client is refused for its encoder's habits."""
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
            assert good(text.encode())

    @given(st.binary(max_size=60))
    def test_what_is_good_can_be_read_by_others(self, data: bytes) -> None:
        """By an independent parser."""
        if good(data):
            json.loads(data)


class TestLines:
    """A JSON frame's line ends at a line break (protocol section 1)."""

    @given(JSON_VALUES)
    def test_line_breaks_become_blanks(self, value: object) -> None:
        """Protobuf clients may send them; they mean nothing between tokens."""
        found = read_json(Raw(json.dumps(value, indent=1).encode()))

        assert found is not None
        assert b"\n" not in bytes(found)
        assert json.loads(bytes(found)) == value

    def test_a_line_break_in_a_string_is_no_json(self) -> None:
        """It would have to be escaped."""
        assert not good(b'"a\nb"')

    def test_text_without_one_is_not_copied(self) -> None:
        """The usual payload costs its check and no more."""
        data = Raw(b'{"a":1}')

        assert read_json(data) is data


class TestOnlyObjects:
    """The format ``json_object`` of a namespace."""

    @pytest.mark.parametrize("data", [b"{}", b' {"a":1}'])
    def test_object_is_good(self, data: bytes) -> None:
        """Empty or not."""
        assert read_json(Raw(data), only_objects=True) is not None

    @pytest.mark.parametrize("data", [b"[]", b'"{}"', b"null", b"1", b"", b"{"])
    def test_anything_else_is_refused(self, data: bytes) -> None:
        """JSON or not."""
        assert read_json(Raw(data), only_objects=True) is None


class TestFitsLine:
    """What is asked again before a payload is written as JSON."""

    @given(JSON_VALUES)
    def test_what_was_read_fits(self, value: object) -> None:
        """Whatever the publisher's encoder."""
        found = read_json(Raw(json.dumps(value, indent=1, ensure_ascii=False).encode()))

        assert found is not None
        assert fits_line(found)

    @pytest.mark.parametrize(
        "data",
        [
            *(b"", b"\x00", b"1 2", b"1}", b'1},"error":{"code":1', b"{", b'"', b'"\xff"'),
            *(b"[1,\n2]", b"1\n", b'"\xed\xa0\x80"', b"[" * 30_000, b"nul", b'"\x00"'),
        ],
    )
    def test_what_would_break_a_frame_does_not(self, data: bytes) -> None:
        """Or would say something in the server's name."""
        assert not fits_line(Raw(data))

    @given(st.binary(max_size=60))
    def test_what_fits_is_one_value_on_one_line(self, data: bytes) -> None:
        """To an independent parser."""
        if fits_line(Raw(data)):
            json.loads(data)
            assert b"\n" not in data
