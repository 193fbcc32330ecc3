"""Who sends a request, as far as the connection tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from: for limits, for the list of sessions and for the audit.

    Args:
        address: The client's IP address, as TRUSTED_PROXIES lets it be known; may be empty.
        user_agent: The first 256 characters of the header; the client's own word.
        request_id: The id under which the request is logged.
    """

    address: str = ""
    user_agent: str = ""
    request_id: str = ""
