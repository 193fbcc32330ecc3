"""Who sends a request."""

from __future__ import annotations

from starlette.requests import Request

from auth_service.routes.caller import caller_of


def _request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "client": ("192.0.2.1", 1)})


def test_a_caller_is_its_address_and_the_start_of_its_user_agent() -> None:
    """The header may be as long as the server lets it be."""
    caller = caller_of(_request(user_agent="x" * 1000))

    assert caller.address == "192.0.2.1"
    assert caller.user_agent == "x" * 256
    assert caller_of(_request()).user_agent == ""
