"""The compact form of a token; what the verifiers make of it is tested with them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, strategies as st

from tests.ws_gateway.hmac_backend import encode, sign
from ws_gateway.exceptions import InvalidToken
from ws_gateway.jws import MAX_TOKEN_CHARACTERS, parse, read_json


def test_parts_are_returned() -> None:
    """The signed bytes are those of the text, not of something written anew."""
    token = sign({"sub": "42"}, header={"typ": "JWT", "alg": "HS256"})

    parsed = parse(token)

    assert parsed.signed == token.rpartition(".")[0].encode()
    assert encode(parsed.signature) == token.rpartition(".")[2]
    assert parsed.header == {"typ": "JWT", "alg": "HS256"}
    assert parsed.claims == {"sub": "42"}


@pytest.mark.parametrize("header", [{"alg": "HS256"}, {}])
def test_header_may_say_less(header: dict[str, object]) -> None:
    """What must be there is for the profiles to say."""
    assert parse(sign({}, header=header)).header == header


@pytest.mark.parametrize("name", ["crit", "jwk", "jku", "x5c", "b64", "zip", "cty", "enc"])
def test_header_may_not_say_more(name: str) -> None:
    """``crit`` asks to be refused; others bring their own key."""
    with pytest.raises(InvalidToken, match="header"):
        parse(sign({}, header={"alg": "HS256", name: ["x"]}))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "..",
        sign({}) + "=",
        sign({}) + ".x",
        " " + sign({}),
        sign({}) + "\n",
        sign([1]),
        sign("text"),
        f"{encode(b'{')}.{encode(b'{}')}.{'A' * 43}",
        f"{encode(b'{}')}.{encode(b'{} {}')}.{'A' * 43}",
        f"{encode(b'{}')}.{encode(json.dumps({}).encode('utf-16'))}.{'A' * 43}",
        f"{encode(b'{}')}.{encode(b'[' * 3000 + b']' * 3000)}.{'A' * 43}",
        sign({"x": "y" * MAX_TOKEN_CHARACTERS}),
    ],
)
def test_other_texts_are_malformed(token: str) -> None:
    """One word for all of them."""
    with pytest.raises(InvalidToken, match="malformed"):
        parse(token)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'[{"a":1,"a":1}]',
        b"NaN",
        b"Infinity",
        b"\xff",
        b"",
        b"1 2",
    ],
)
def test_json_is_strict(text: bytes) -> None:
    """Names once, numbers finite, UTF-8, one value."""
    with pytest.raises(ValueError):  # noqa: PT011 - which one is the library's choice
        read_json(text)


@given(st.one_of(st.text(), st.from_regex(r"\A[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){1,3}\Z")))
def test_any_text_is_parsed_or_refused(token: str) -> None:
    """Tokens come from strangers."""
    try:
        parse(token)
    except InvalidToken:
        return


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(_VALUES, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(
    value: object, separators: tuple[str, str], ensure_ascii: bool
) -> None:
    """The short way and the long one say the same, to the type of each number."""
    try:
        text = json.dumps(value, separators=separators, ensure_ascii=ensure_ascii).encode()
    except UnicodeEncodeError:  # half a character, which no UTF-8 has
        return

    assert repr(read_json(text)) == repr(json.loads(text))


@given(st.text("ABCDQVgwxyz0189-_", min_size=1, max_size=12))
def test_base64_has_one_spelling(segment: str) -> None:
    """What would be spelled otherwise is refused, whatever the bits that are dropped say."""
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        decoded = b""
    canonical = encode(decoded) == segment

    try:
        signature = parse(f"e30.e30.{'A' * 20}{segment}").signature
    except InvalidToken:
        assert not canonical
    else:
        assert canonical
        assert signature == bytes(15) + decoded
