"""What a client takes home, as a value."""

from __future__ import annotations

from auth_service.issued import Issued


def test_a_service_gets_no_refresh_token() -> None:
    """It is the exception to have one."""
    assert Issued("text", 600, "connect").refresh_token is None
