"""``serve``: both applications, until a signal comes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterable

import uvloop

from auth_service import logs
from auth_service.app import create_app, create_internal_app, open_service
from auth_service.commands.parsers import Parsers
from auth_service.exceptions import ConfigurationError
from auth_service.serving import BACKLOG, create_server, stop_on_signals
from auth_service.settings import Address, Settings

MAX_WORKERS = 64

_log = logging.getLogger(__name__)


def add_to(commands: Parsers) -> None:
    """Describe the command."""
    serve = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serve.add_argument(
        "--workers",
        type=int,
        choices=range(1, MAX_WORKERS + 1),
        default=1,
        metavar="N",
        help="more than one: processes under gunicorn",
    )
    serve.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    if options.workers > 1:
        return _serve_with_workers(settings, options.workers)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    """Serve both applications until a signal comes; a second one hurries."""
    logs.configure()
    with contextlib.ExitStack() as stack:
        # Bound first: whoever starts a second server by mistake learns it before anything is made.
        public = _bind("AUTH_BIND", settings.bind, stack)
        internal = _bind("AUTH_INTERNAL_BIND", settings.internal_bind, stack)
        async with open_service(settings) as service:
            servers = [
                create_server(create_app(service)),
                create_server(create_internal_app(service)),
            ]
            stop_on_signals(servers, service.revocation_log.close)
            _log.info("serving", extra={"public": _bound(public), "internal": _bound(internal)})
            async with asyncio.TaskGroup() as group:
                group.create_task(servers[0].serve(public))
                group.create_task(servers[1].serve(internal))


def _serve_with_workers(settings: Settings, workers: int) -> int:
    """Serve both applications in several processes until a signal comes."""
    # gunicorn is not imported for those who do without.
    from auth_service.workers import serve  # noqa: PLC0415

    logs.configure()
    with contextlib.ExitStack() as stack:
        public = _bind("AUTH_BIND", settings.bind, stack)
        internal = _bind("AUTH_INTERNAL_BIND", settings.internal_bind, stack)
        _log.info("serving", extra={"public": _bound(public), "internal": _bound(internal)})
        return serve(settings, public=public, internal=internal, workers=workers)


def _bind(
    variable: str, addresses: Iterable[Address], stack: contextlib.ExitStack
) -> list[socket.socket]:
    """Open a listener per address; ``stack`` closes them.

    Raises:
        ConfigurationError: An address is in use, unknown or not allowed.
    """
    sockets = []
    for address in addresses:
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # So that 0.0.0.0 and [::] can be named side by side.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(target)
            # Two processes may bind one address with SO_REUSEADDR; only one may listen.
            listener.listen(BACKLOG)
        except OSError as error:
            reason = error.strerror or "cannot be bound"
            raise ConfigurationError(f"{variable}: {address}: {reason}") from None
        sockets.append(listener)
    return sockets


def _bound(listeners: Iterable[socket.socket]) -> list[str]:
    """Return the real addresses, in which a port 0 has become the one the system chose."""
    return [str(Address(*listener.getsockname()[:2])) for listener in listeners]
