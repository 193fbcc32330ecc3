"""Names of one channel's keys are in one slot, and those of two channels are never the same."""

from __future__ import annotations

from hypothesis import given, strategies as st
from redis.crc import key_slot

from ws_gateway.redis_keys import slot_tag

NAMES = st.text(st.sampled_from("{}a\x01é"), max_size=6)


@given(NAMES)
def test_what_stands_in_the_same_braces_is_in_one_slot(name: str) -> None:
    """Whatever the name has in it."""
    tag = slot_tag(name)

    assert len({key_slot(prefix + b"{%b}" % tag + b":x") for prefix in (b"", b"s:", b"m:")}) == 1


@given(NAMES, NAMES)
def test_different_names_stay_different(one: str, other: str) -> None:
    """Or one channel would have another's history."""
    assert (slot_tag(one) == slot_tag(other)) is (one == other)
