"""One gateway process, from its listening sockets to the end of its drain."""

from __future__ import annotations

import asyncio
import gc
import socket

from ws_gateway.app import create_app, create_internal_app, open_gateway
from ws_gateway.listeners import Listener, serve
from ws_gateway.settings import Settings


async def run(
    settings: Settings, *, public: list[socket.socket], internal: list[socket.socket]
) -> None:
    """Serve until a signal, then drain.

    Args:
        settings: Of the gateway.
        public: Bound, for clients; see ``listeners.bind``.
        internal: Bound, for probes and Prometheus.

    Raises:
        ConfigurationError: It cannot start with these settings.
    """
    async with open_gateway(settings) as gateway:

        async def drain(hurry: asyncio.Event) -> None:
            await gateway.node.drain(settings.drain_seconds, hurry)

        listeners = [
            Listener(app=create_app(gateway), sockets=public),
            Listener(app=create_internal_app(gateway), sockets=internal),
        ]
        # What has been made by now stays; a full collection need not look through it again.
        gc.collect()
        gc.freeze()
        try:
            await serve(listeners, drain=drain)
        finally:
            gc.unfreeze()
