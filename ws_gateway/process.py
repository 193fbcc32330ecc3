"""One gateway process, from its listening sockets to the end of its drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from typing import Any

from ws_gateway.app import create_app, create_internal_app, open_gateway
from ws_gateway.listeners import Listener, serve
from ws_gateway.settings import Settings

logger = logging.getLogger(__name__)

_GIVEN_UP = ("Fatal error on SSL protocol", "the handler is closed")
"""What uvloop 0.23 makes of a TLS connection that is cancelled just after its handshake."""


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
    asyncio.get_running_loop().set_exception_handler(log_failure)
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


def log_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody has caught, as asyncio does.

    A connection that we have given up is none of it: each Redis that fails over would have
    tracebacks logged.
    """
    error = context.get("exception")
    message, reason = _GIVEN_UP
    if (
        isinstance(error, RuntimeError)
        and context.get("message") == message
        and str(error).endswith(reason)
    ):
        logger.debug("tls connection was given up")
        return
    loop.default_exception_handler(context)
