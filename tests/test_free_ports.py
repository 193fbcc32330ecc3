"""Ports for servers that tests start."""

from __future__ import annotations

from tests.free_ports import free_ports


def test_nobody_is_given_what_another_was_just_given() -> None:
    """A sentinel and nginx had the same, of which the first to listen kept it."""
    given = [port for _ in range(500) for port in free_ports(2)]

    assert len(set(given)) == len(given)
