"""How many may be inside, and how fast they may come; the counts never drift (W26, W27)."""

from __future__ import annotations

import contextlib
import resource
from collections import Counter

import pytest
from hypothesis import given, strategies as st

from ws_gateway.admission import (
    AddressCount,
    Pace,
    UnauthenticatedSockets,
    connection_limit,
    origin_of,
    retry_after,
)
from ws_gateway.exceptions import HandshakeRejected


def refusal(sockets: UnauthenticatedSockets, address: str) -> HandshakeRejected:
    """Return what this address is refused with."""
    with pytest.raises(HandshakeRejected) as caught:
        sockets.admit(address)
    return caught.value


def test_address_with_too_many_is_told_to_wait() -> None:
    """429 (RFC 6585 section 4); others still come in."""
    sockets = UnauthenticatedSockets(limit=10, limit_per_address=2)
    sockets.admit("a")
    sockets.admit("a")

    refused = refusal(sockets, "a")
    sockets.admit("b")

    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert len(sockets) == 3


def test_full_process_is_unavailable() -> None:
    """503: it is not the client's fault."""
    sockets = UnauthenticatedSockets(limit=2, limit_per_address=2)
    sockets.admit("a")
    sockets.admit("b")

    refused = refusal(sockets, "c")

    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0


def test_released_place_is_free_again() -> None:
    """For the same address and for others."""
    sockets = UnauthenticatedSockets(limit=1, limit_per_address=1)
    sockets.admit("a")
    sockets.release("a")
    sockets.admit("b")

    assert len(sockets) == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_count_is_exact_whatever_happens(steps: list[tuple[str, bool]]) -> None:
    """Within both limits at any time, and nothing is remembered of who has gone."""
    sockets = UnauthenticatedSockets(limit=5, limit_per_address=3)
    inside: list[str] = []
    for address, comes in steps:
        if comes:
            with contextlib.suppress(HandshakeRejected):
                sockets.admit(address)
                inside.append(address)
        elif address in inside:
            inside.remove(address)
            sockets.release(address)
        assert len(sockets) == len(inside) <= 5
        assert all(inside.count(address) <= 3 for address in "abc")
        assert sockets._by_address._counts == Counter(inside)
        assert len(sockets._by_address) == len(set(inside))


@pytest.mark.parametrize(
    ("chosen", "files", "limit"),
    [
        (0, 20_000, 19_744),
        (5_000, 20_000, 5_000),
        (50_000, 20_000, 19_744),
        (0, 100, 1),
        (0, resource.RLIM_INFINITY, 1_000_000),
        (7, resource.RLIM_INFINITY, 7),
    ],
)
def test_connections_never_need_more_files_than_there_are(
    monkeypatch: pytest.MonkeyPatch, chosen: int, files: int, limit: int
) -> None:
    """Past them accept() itself would fail, for Redis and probes too."""
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (files, files))

    assert connection_limit(chosen) == limit


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("no:address", "no:address"),
        ("", ""),
    ],
)
def test_a_network_of_64_bits_is_one_origin(address: str, origin: str) -> None:
    """Whoever has one IPv6 address has 2^64 of them (RFC 6177)."""
    assert origin_of(address) == origin


def test_an_address_has_so_many_connections() -> None:
    """And others theirs; nothing is remembered of who has gone."""
    addresses = AddressCount(2)
    for address in ("2001:db8::1", "2001:db8::2", "192.0.2.1"):
        addresses.enter(address)

    full = [addresses.full(address) for address in ("2001:db8::3", "192.0.2.1", "192.0.2.2")]
    for address in ("2001:db8::1", "2001:db8::2", "192.0.2.1"):
        addresses.leave(address)

    assert full == [True, False, False]
    assert len(addresses) == 0


def test_without_a_limit_no_address_is_counted() -> None:
    """It would cost memory for nothing."""
    addresses = AddressCount(0)
    addresses.enter("192.0.2.1")

    assert (addresses.full("192.0.2.1"), len(addresses)) == (False, 0)
    addresses.leave("192.0.2.1")


def test_those_who_are_refused_together_do_not_come_back_together() -> None:
    """About then, and never at once."""
    waits = {int(retry_after(10)["Retry-After"]) for _ in range(1000)}

    assert waits == set(range(5, 16))


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """See time.monotonic."""
        return self.now


def comers(pace: Pace, count: int, *, seen: bool = False) -> list[int]:
    """Let so many come at once; returns when those who were refused may come back."""
    waits = []
    for _ in range(count):
        try:
            pace.check(seen=lambda: seen)
        except HandshakeRejected as refused:
            waits.append(int(refused.headers["Retry-After"]))
        else:
            pace.take()
    return waits


class TestPace:
    """A storm is let in at an even pace, and who comes back goes before who is new."""

    @pytest.fixture
    def clock(self) -> Clock:
        """A clock that stands still."""
        return Clock()

    @pytest.fixture
    def pace(self, clock: Clock) -> Pace:
        """Ten at once, two of them reserved; then four a second."""
        return Pace(per_second=4, burst=10, clock=clock)

    def test_a_burst_comes_in_and_the_rest_at_the_pace(self, pace: Pace, clock: Clock) -> None:
        """Of those who are new: the last fifth of the burst is not theirs."""
        refused = len(comers(pace, 20))
        clock.now += 1
        refused_later = len(comers(pace, 20))

        assert (refused, refused_later) == (12, 16)

    def test_who_was_seen_before_goes_first(self, pace: Pace, clock: Clock) -> None:
        """As long as there is anything left, and while newcomers wait."""
        comers(pace, 20)

        assert len(comers(pace, 4, seen=True)) == 2
        clock.now += 0.5
        assert len(comers(pace, 3)) == 3
        assert len(comers(pace, 3, seen=True)) == 1

    def test_nobody_is_asked_for_before_it_matters(self, pace: Pace) -> None:
        """To look a token up costs its digest."""

        def seen() -> bool:
            raise AssertionError

        pace.check(seen=seen)

    def test_who_does_not_come_in_takes_no_place(self, pace: Pace) -> None:
        """Strangers with bad tokens must not keep out those with good ones."""
        for _ in range(100):
            pace.check(seen=lambda: False)

        assert len(comers(pace, 8)) == 0

    def test_the_refused_are_spread_as_the_pace_lets_them_in(self, pace: Pace) -> None:
        """Four for each second; and where the queue is too long, somewhere in its last half."""
        comers(pace, 8)
        waits = comers(pace, 200)

        assert waits[:120] == [second for second in range(1, 31) for _ in range(4)]
        assert all(15 <= wait <= 30 for wait in waits[120:])

    def test_it_fills_up_to_a_burst_and_no_further(self, pace: Pace, clock: Clock) -> None:
        """However long nobody came."""
        clock.now += 3600

        assert len(comers(pace, 20)) == 12
