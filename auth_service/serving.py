"""A uvicorn server as this service runs it: several in one loop, and none of them owns the signals.

Each takes a few connections at a time, see `listener`.

uvicorn raises a signal again once it has stopped, which would end the process half-way through its
farewell; so signals are taken by whoever runs the servers, see :func:`stop_on_signals`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from auth_service.listener import Listener

# A storm of clients that come back at once must fit; the kernel drops what does not.
BACKLOG = 2048
DRAIN_SECONDS = 10


class Server(uvicorn.Server):
    """A uvicorn server among several in one loop: the signals are ours, and so is accepting."""

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        listeners = [Listener(listening, self._make_protocol) for listening in sockets or ()]
        # Closed when the server stops, as what it would have made itself.
        self.servers.extend(cast("list[asyncio.Server]", listeners))

    def _make_protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def create_server(app: FastAPI) -> Server:
    """Make a server; the sockets are given to its ``serve``."""
    return Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Believed from nobody: behind a proxy the address in the log is the proxy's.
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )


def stop_on_signals(
    servers: Sequence[uvicorn.Server], announce: Callable[[], None] = lambda: None
) -> None:
    """Stop the servers on SIGTERM or SIGINT; a second one hurries.

    Args:
        servers: Running, or about to.
        announce: Called first: lets go of requests that only wait.
    """
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        announce()
        stop(servers)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def stop(servers: Sequence[uvicorn.Server]) -> None:
    """Let running requests end and take no others; called again, do not wait for them."""
    for server in servers:
        server.force_exit = server.should_exit
        server.should_exit = True
