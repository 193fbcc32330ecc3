"""How many may be inside who have not said who they are; the count never drifts (W26)."""

from __future__ import annotations

import contextlib
import resource

import pytest
from hypothesis import given, strategies as st

from ws_gateway.admission import UnauthenticatedSockets, connection_limit
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
        assert sockets._by_address == {address: inside.count(address) for address in set(inside)}


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
