"""How long a handshake takes, from its first look at the request."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ws_gateway.routes import handshake_clock
from ws_gateway.routes.handshake_clock import HandshakeClock, elapsed


@pytest.mark.parametrize("kind", ["websocket", "http"])
async def test_the_time_runs_from_the_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every transport's handshake."""
    readings = iter((100.0, 102.5))
    monkeypatch.setattr(handshake_clock, "_now", lambda: next(readings))
    found: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        found.append(elapsed(scope))

    await HandshakeClock(app)({"type": kind}, _never, _never)

    assert found == [2.5]


def test_what_nobody_noted_took_no_time() -> None:
    """As under a test's own application."""
    assert elapsed({}) == 0


async def _never(*_arguments: Any) -> Any:  # noqa: ANN401 - either ASGI channel
    raise AssertionError("nothing is read or sent")
