"""``python -m ws_gateway``: one gateway process, configured by the environment.

With arguments it asks one that runs; see ``ws_gateway.cli``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import uvloop

from ws_gateway import cli, logs
from ws_gateway.app import create_app, create_internal_app, open_gateway
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.listeners import Listener, bind, serve
from ws_gateway.settings import Settings


async def run(settings: Settings) -> None:
    """Serve until a signal, then drain.

    Raises:
        ConfigurationError: It cannot start with these settings.
    """
    with contextlib.ExitStack() as bound:
        public = bind(settings.bind, variable="GATEWAY_BIND")
        for listener in public:
            bound.enter_context(listener)
        internal = bind(settings.internal_bind, variable="GATEWAY_INTERNAL_BIND")
        for listener in internal:
            bound.enter_context(listener)
        async with open_gateway(settings) as gateway:

            async def drain(hurry: asyncio.Event) -> None:
                await gateway.node.drain(settings.drain_seconds, hurry)

            listeners = [
                Listener(app=create_app(gateway), sockets=public),
                Listener(app=create_internal_app(gateway), sockets=internal),
            ]
            await serve(listeners, drain=drain)


def main() -> int:
    """Run, and say in one line why it cannot; returns the exit status."""
    try:
        settings = Settings.from_environment()
        if len(sys.argv) > 1:
            host, port = settings.internal_bind[0]
            return cli.main(sys.argv[1:], url=f"http://{_reachable(host)}:{port}")
        logs.configure(settings.log_level)
        uvloop.run(run(settings))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _reachable(host: str) -> str:
    """Name a host that one listens on as one connects to it."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
