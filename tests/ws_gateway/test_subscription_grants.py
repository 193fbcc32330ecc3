"""What subscriptions were granted, and their ends in time."""

from __future__ import annotations

from math import inf

from hypothesis import given, strategies as st

from ws_gateway.credentials import SubscriptionGrant
from ws_gateway.subscription_grants import SubscriptionGrants

GRANT = SubscriptionGrant(info=b"1")


def test_grant_is_found_until_it_is_removed() -> None:
    """By its channel."""
    grants = SubscriptionGrants()
    grants.put("a", GRANT, ends_at=inf, server_side=True)

    assert grants.find("a") is GRANT
    assert grants.is_server_side("a")
    assert grants.find("b") is None
    assert not grants.is_server_side("b")
    grants.remove("a")
    grants.remove("b")
    assert grants.find("a") is None
    assert len(grants) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.floats(0, 10), st.just(inf)))
    ),
    st.floats(0, 11),
)
def test_ends_are_those_put_last(steps: list[tuple[str, float | None]], now: float) -> None:
    """None removes; compared with a plain dictionary."""
    grants, ends = SubscriptionGrants(), dict[str, float]()
    for channel, ends_at in steps:
        if ends_at is None:
            grants.remove(channel)
            ends.pop(channel, None)
        else:
            grants.put(channel, GRANT, ends_at=ends_at, server_side=False)
            ends[channel] = ends_at

    assert len(grants) == len(ends)
    assert grants.next_end == min(ends.values(), default=inf)
    assert sorted(grants.ended(now)) == sorted(name for name, end in ends.items() if now >= end)
