"""Patterns of channel names."""

from __future__ import annotations

import pytest

from ws_gateway.exceptions import ReplyError
from ws_gateway.glob import MAX_LENGTH, compile_glob


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("", "", True),
        ("room:1", "room:1", True),
        ("room:1", "room:12", False),
        ("room:*", "room:", True),
        ("room:*", "room:a/b:c", True),
        ("room:*", "rooms:a", False),
        ("*", "anything#1,2", True),
        ("room:?", "room:1", True),
        ("room:?", "room:12", False),
        ("room:[ab]", "room:b", True),
        ("room:[!ab]", "room:b", False),
        ("{room,hall}:1", "hall:1", True),
        ("{room,hall}:1", "attic:1", False),
        ("{a,b{c,d}}", "bd", True),
        ("room:.", "room:x", False),
        ("{a,b", "{a,b", True),
        ("*a*b", "xaxb", True),
    ],
)
def test_matches_as_a_glob(pattern: str, name: str, matches: bool) -> None:
    """Stars, marks, sets and alternatives; everything else stands for itself."""
    assert compile_glob(pattern)(name) is matches


@pytest.mark.parametrize("pattern", ["x" * (MAX_LENGTH + 1), "*" * 17, "{a,b}" * 7])
def test_what_would_take_long_is_refused(pattern: str) -> None:
    """107, before a name is looked at."""
    with pytest.raises(ReplyError, match="107"):
        compile_glob(pattern)


def test_many_stars_take_linear_time() -> None:
    """A name that almost matches does not make it look for ever: this would not end."""
    assert not compile_glob("*a" * 16)("a" * 15 + "b" * 240)
