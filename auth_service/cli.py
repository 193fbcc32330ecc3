"""The command line: ``serve``, ``users add``, ``clients add``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterable, Sequence

import uvloop

from auth_service import logs
from auth_service.app import create_app, create_internal_app, open_service
from auth_service.clients import hash_secret, new_secret
from auth_service.exceptions import AccountError, ConfigurationError, RequestError
from auth_service.serving import BACKLOG, create_server, stop_on_signals
from auth_service.settings import Address, Settings

MAX_WORKERS = 64
EXIT_REFUSED = 1
EXIT_CONFIGURATION = 2

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; those of the process unless given.

    Returns:
        0; 1 if an order was refused; 2 if a setting or an argument is wrong. Either is explained by
        one line on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        if options.command == "serve" and options.workers > 1:
            return _serve_with_workers(settings, options.workers)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if options.command == "serve":
                runner.run(_serve(settings))
            elif options.command == "users":
                runner.run(_add_user(settings, options))
            else:
                runner.run(_add_client(settings, options))
    except ConfigurationError as error:
        return _fail(str(error), EXIT_CONFIGURATION)
    except AccountError as error:
        return _fail(str(error), EXIT_REFUSED)
    except RequestError as error:
        return _fail(error.description, EXIT_REFUSED)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auth_service",
        description="Drawbridge's authorization server; settings are AUTH_* variables.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serve.add_argument(
        "--workers",
        type=int,
        choices=range(1, MAX_WORKERS + 1),
        default=1,
        metavar="N",
        help="more than one: processes under gunicorn",
    )

    users = commands.add_parser("users", help="manage users").add_subparsers(required=True)
    add = users.add_parser("add", help="create a user and print the id")
    add.add_argument("name")
    add.add_argument("--scope", default="connect", help="words separated by blanks")
    add.add_argument("--demo", action="store_true", help="a user that production refuses")
    source = add.add_mutually_exclusive_group()
    source.add_argument("--password-stdin", action="store_true", help="read it from the input")
    source.add_argument("--generate", action="store_true", help="make one and print it once")

    clients = commands.add_parser("clients", help="manage clients").add_subparsers(required=True)
    add = clients.add_parser("add", help="register a client")
    add.add_argument("id")
    add.add_argument("--scope", default="connect", help="words separated by blanks")
    add.add_argument("--grant", action="append", default=[], help="may be repeated")
    add.add_argument("--secret", action="store_true", help="make a secret and print it once")
    return parser


def _fail(line: str, status: int) -> int:
    sys.stderr.write(line + "\n")
    return status


# --- serve ---------------------------------------------------------------------------------------


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
            stop_on_signals(servers)
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


# --- orders --------------------------------------------------------------------------------------


async def _add_user(settings: Settings, options: argparse.Namespace) -> None:
    """Create a user and print the id, then the password if it was made here."""
    if options.generate:
        password = secrets.token_urlsafe(18)
    elif options.password_stdin:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    else:
        password = _ask_password()
    async with open_service(settings) as service:
        user = await service.add_user(
            options.name, password, scope=options.scope, demo=options.demo
        )
    sys.stdout.write(f"{user.id}\n")
    if options.generate:
        sys.stdout.write(f"{password}\n")


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise AccountError("no terminal to ask for a password: use --password-stdin or --generate")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise AccountError("the two passwords differ")
    return password


async def _add_client(settings: Settings, options: argparse.Namespace) -> None:
    """Register a client; print its secret, which nobody can show again."""
    secret = new_secret() if options.secret else None
    async with open_service(settings) as service:
        await service.add_client(
            options.id,
            secret_hash=hash_secret(secret) if secret else None,
            grants=frozenset(options.grant),
            scope=options.scope,
        )
    if secret:
        sys.stdout.write(f"{secret}\n")
