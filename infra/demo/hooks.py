"""The demo's rpc methods; the pattern for one's own, named by ``GATEWAY_HOOKS``."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ws_gateway.hooks import Caller, Hooks

hooks = Hooks()


@hooks.rpc("echo")
async def echo(_: Caller, data: Any) -> Any:  # noqa: ANN401 (whatever JSON can say)
    """Return the argument."""
    return data


@hooks.rpc("time")
async def tell_time(_: Caller, __: Any) -> dict[str, str | float]:  # noqa: ANN401
    """Return the server's time, for people and for programs."""
    now = dt.datetime.now(dt.UTC)
    return {"iso": now.isoformat(timespec="milliseconds"), "unix": now.timestamp()}
