"""Who sends a request, as a value."""

from __future__ import annotations

from auth_service.caller import Caller


def test_nothing_is_known_of_a_caller_by_default() -> None:
    """Orders of an operator come from no address."""
    assert Caller() == Caller(address="", user_agent="", request_id="")
