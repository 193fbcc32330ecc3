"""O: asking the token service, and how it refuses.

What is thrown at it, on both databases, over real sockets, is in the files ``test_oauth_*.py``.
Waiting times (O6, O7) belong to the benches; there it is counted what was done.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpx2

from tests.attacks.running import Services

# Made once: loading the authorities takes longer than any request.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# RFC 6749 section 5.2: printable ASCII without quotation mark and backslash.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


def refused(answer: httpx2.Response, status: int, error: str) -> None:
    """Check a refusal: status, word, form, and that no cache may keep it."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert DESCRIPTION.fullmatch(answer.json().get("error_description", ""))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    if status == httpx2.codes.UNAUTHORIZED and "Authorization" in answer.request.headers:
        assert answer.headers["WWW-Authenticate"]


def session(services: Services, **form: str) -> dict[str, Any]:
    """Log in; returns the tokens."""
    answer = services.token(**form)
    assert answer.status_code == httpx2.codes.OK, answer.text
    return dict(answer.json())


def once(
    services: Services, form: dict[str, str], headers: dict[str, str] | None = None
) -> httpx2.Response:
    """Ask for a token over a connection that nobody else uses."""
    url = f"{services.url}/token"
    return httpx2.post(url, data=form, headers=headers, trust_env=False, verify=NO_TLS, timeout=20)
