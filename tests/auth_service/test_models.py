"""Names and scopes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies as st

from auth_service.exceptions import InvalidUsername
from auth_service.models import CLIENT_ID, Username, parse_scope


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff41lice", "alice"),
        ("stra\u00dfe", "STRASSE"),
        ("\u03c3\u03c2", "\u03a3\u03a3"),
    ],
)
def test_names_that_look_the_same_have_one_key(one: str, other: str) -> None:
    """Case and Unicode form do not make another user."""
    assert Username.parse(one).key == Username.parse(other).key


@pytest.mark.parametrize(
    "name",
    [
        "",
        " alice",
        "alice ",
        "a\0b",
        "a\nb",
        "a\u202eb",
        "a\u200bb",
        "a\u2028b",
        "a\ud800b",
        "a\ue000b",
        "a" * 65,
        "\ufdfa" * 4,
        "client:chat",
        "CLIENT:chat",
        "\uff43lient:chat",
        "x" * 100_000,
    ],
)
def test_names_that_could_deceive_are_refused(name: str) -> None:
    """Control and invisible characters, blanks at the ends, the prefix of services, bad lengths."""
    with pytest.raises(InvalidUsername):
        Username.parse(name)


@given(st.text(max_size=80))
def test_an_accepted_name_is_stable(text: str) -> None:
    """Parsing what is shown gives the same name again, and it fits its column."""
    try:
        name = Username.parse(text)
    except InvalidUsername:
        return

    assert Username.parse(name.shown) == name
    assert unicodedata.is_normalized("NFKC", name.shown)
    assert 1 <= len(name.shown) <= 64
    assert len(name.key) <= 256


@pytest.mark.parametrize(
    "text", ["", " ", "a  b", " a", "a ", 'a"b', "a\\b", "a\tb", "é", "x" * 1025]
)
def test_malformed_scopes_are_none(text: str) -> None:
    """RFC 6749 section 3.3."""
    assert parse_scope(text) is None


def test_a_scope_is_a_set_of_words() -> None:
    """Order and repetition mean nothing."""
    assert parse_scope("b a b") == frozenset({"a", "b"})


def test_a_clients_subject_fits_its_claim() -> None:
    """`client:` and the id have 64 characters at most."""
    assert CLIENT_ID.fullmatch("x" * 56)
    assert not CLIENT_ID.fullmatch("x" * 57)
