"""Who sends a request."""

from __future__ import annotations

from fastapi import Request

from auth_service.caller import Caller
from auth_service.logs import REQUEST_ID

MAX_USER_AGENT_CHARACTERS = 256


def caller_of(request: Request) -> Caller:
    """Return the caller of a request; behind a trusted proxy the address is the client's."""
    return Caller(
        address=request.client.host if request.client else "",
        user_agent=request.headers.get("user-agent", "")[:MAX_USER_AGENT_CHARACTERS],
        request_id=REQUEST_ID.get(),
    )
