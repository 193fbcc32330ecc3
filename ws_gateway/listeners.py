"""Listening sockets, and the uvicorn servers behind them, from their start to the end of a drain.

uvicorn alone would answer SIGTERM by cutting every WebSocket within milliseconds. Here the order
is: no new connections, a paced goodbye to the open ones, then the servers stop. A second signal,
or Ctrl-C, hurries.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from ws_gateway.exceptions import ConfigurationError
from ws_gateway.server import Handshake, HTTPProtocol, closing_sockets

# A storm of 4,000 reconnects lost its tail at 128.
BACKLOG = 2048
_GRACEFUL_SECONDS = 5
_HURRIED_SECONDS = 0.5

Drain = Callable[[asyncio.Event], Awaitable[None]]
"""Says goodbye to the connections; the event is set when it should hurry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An application and where it is served.

    Attributes:
        app: The ASGI application.
        sockets: Bound, see :func:`bind`.
        certificate: PEM file with the certificate chain; plain HTTP without one.
        key: PEM file with its private key.
    """

    app: ASGIApp
    sockets: list[socket.socket]
    certificate: Path | None = None
    key: Path | None = None


def bind(
    addresses: Iterable[tuple[str, int]], *, variable: str, reuse_port: bool = False
) -> list[socket.socket]:
    """Bind TCP sockets, all or none.

    Args:
        addresses: Host and port of each; port 0 takes a free one.
        variable: The setting to name if it fails.
        reuse_port: Others that say so too may listen on the same addresses.

    Raises:
        ConfigurationError: An address is in use, or is not one of this machine.
    """
    bound: list[socket.socket] = []
    for host, port in addresses:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.socket(family)  # fails on a machine without IPv6
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
            # Two may bind one address with SO_REUSEADDR; only one may listen.
            listener.listen(BACKLOG)
        except (OSError, TypeError) as error:
            for opened in bound:
                opened.close()
            # A TypeError is a host name that cannot be encoded.
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(
                f"{variable}: cannot listen on {host}:{port}: {reason}"
            ) from None
        listener.setblocking(False)
    return bound


def bind_for_each(
    addresses: Iterable[tuple[str, int]], *, variable: str, workers: int
) -> list[list[socket.socket]]:
    """Bind the same addresses once for each worker, so that the kernel spreads the connections.

    Workers that accept from one socket do not share alike: whoever is awake first takes the next.
    Four of them had 142 to 831 of 2,000 connections that came one by one, and 484 to 519 with a
    socket each (SO_REUSEPORT).

    Args:
        addresses: Host and port of each; port 0 takes a free one.
        variable: The setting to name if it fails.
        workers: How many there are.

    Returns:
        Those of each worker. As long as somebody holds the sockets of a worker that has died, what
        comes for it waits for the next one.

    Raises:
        ConfigurationError: An address is in use, or is not one of this machine.
    """
    if workers == 1:
        return [bind(addresses, variable=variable)]
    # Those who reuse a port do not notice each other: a second gateway would take half of all.
    alone = bind(addresses, variable=variable)
    found = [listener.getsockname()[:2] for listener in alone]
    for listener in alone:
        listener.close()
    return [bind(found, variable=variable, reuse_port=True) for _ in range(workers)]


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals alone and waits for closing WebSockets.

    Args:
        config: What it serves.
        hurry: When set, peers that do not answer are not waited for.
    """

    def __init__(self, config: uvicorn.Config, hurry: asyncio.Event) -> None:
        super().__init__(config)
        self._hurry = hurry

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        closed = asyncio.create_task(closing_sockets(self.server_state).none())
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({closed, hurried}, return_when=asyncio.FIRST_COMPLETED)
        # Those who read get their close frame even in a hurry.
        await asyncio.wait({closed}, timeout=_HURRIED_SECONDS)
        self.force_exit = self._hurry.is_set()
        for task in (closed, hurried):
            task.cancel()
        await super().shutdown(sockets)


async def serve(listeners: Iterable[Listener], *, drain: Drain) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop.

    Args:
        listeners: What is served where.
        drain: Called once, between the signal and the stop.
    """
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set() or number == signal.SIGINT:
            hurry.set()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    served = [
        (_Server(_configuration(listener), hurry), listener.sockets) for listener in listeners
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for server, sockets in served:
                group.create_task(server.serve(sockets=sockets))
            await stopping.wait()
            await drain(hurry)
            for server, _ in served:
                server.should_exit = True
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _configuration(listener: Listener) -> uvicorn.Config:
    return uvicorn.Config(
        listener.app,
        http=HTTPProtocol,
        ws=Handshake,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        ssl_certfile=listener.certificate,
        ssl_keyfile=listener.key,
    )
