"""The texts of refresh tokens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from auth_service.refresh_tokens import RefreshTokens

NEW, OLD = (
    RefreshTokens(chain_keys=[b"c1"], mac_keys=[b"m1"]),
    RefreshTokens(chain_keys=[b"c0"], mac_keys=[b"m0"]),
)
BOTH = RefreshTokens(chain_keys=[b"c1", b"c0"], mac_keys=[b"m1", b"m0"])


def test_a_text_is_read_as_it_was_made() -> None:
    """Every generation of it; the hash is that of the text, and no two are equal."""
    token = NEW.first("sid-1")
    seen = set()
    for generation in range(1, 12):
        assert NEW.read(token.text) == token
        assert (token.sid, token.generation) == ("sid-1", generation)
        seen.add(token.hash)
        token = NEW.successor(token)

    assert len(seen) == 11
    assert all(re.fullmatch("[0-9a-f]{64}", found) for found in seen)


def test_a_successor_is_always_the_same() -> None:
    """But of two sessions, or of two first tokens, never."""
    token = NEW.first("s")

    assert NEW.successor(token) == NEW.successor(token)
    assert NEW.successor(token).chain != NEW.successor(NEW.first("s")).chain
    assert NEW.first("s").chain != NEW.first("s").chain


def test_an_older_key_still_proves_and_is_tried_for_the_successor() -> None:
    """The first key makes what is new."""
    token = OLD.first("s")

    assert BOTH.read(token.text) == token
    assert NEW.read(token.text) is None
    assert list(BOTH.successors(token)) == [NEW.successor(token), OLD.successor(token)]
    assert BOTH.successor(token) == NEW.successor(token)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[3:],
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: text.replace("rt_s", "rt_t"),
        lambda text: text.replace(".1.", ".2."),
        lambda text: text.replace(".1.", ".01."),
        lambda text: text.replace(".1.", ".0."),
        lambda text: text.replace(".1.", ".99999999999."),
        lambda text: text.replace(".1.", ".\u0661."),
        lambda text: text[:-1] + chr(ord(text[-1]) ^ 1),
        lambda text: ".".join([*text.split(".")[:3], "A" * 22]),
        lambda text: text.upper(),
        lambda _: "",
    ],
)
def test_what_was_never_made_here_is_none(change: object) -> None:
    """Altered, made up, or spelt in another way."""
    assert callable(change)

    assert NEW.read(change(NEW.first("s").text)) is None


@given(
    st.text() | st.from_regex(r"rt_[A-Za-z0-9_-]+\.[0-9]+\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{22}")
)
def test_any_text_is_read_or_none(text: str) -> None:
    """Never an error."""
    assert NEW.read(text) is None
