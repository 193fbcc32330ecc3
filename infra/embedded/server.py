"""The composition of both services in one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping

import uvloop

import auth_service.app
import auth_service.exceptions
import auth_service.logs
import ws_gateway.app
import ws_gateway.exceptions
from infra.embedded import certificate, guide, loopback
from infra.embedded.demo_users import ensure_demo_users
from infra.embedded.front import Front
from infra.embedded.local_directory import LocalDirectory
from infra.embedded.settings import (
    Origin,
    auth_settings,
    front_addresses,
    gateway_settings,
    with_revocations_key,
)
from ws_gateway import logs
from ws_gateway.listeners import Listener, serve

EXIT_CONFIGURATION = 2
_DEFAULT_LOCAL = ".local"


async def run(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or Ctrl-C, then say goodbye to the connections.

    All ports are taken before the first file is touched: a second start by mistake fails there,
    and leaves the first one's files alone.

    Raises:
        ConfigurationError: Of either service; one line about what stops the start.
    """
    environment = with_revocations_key(environment)
    local = LocalDirectory(environment.get("DRAWBRIDGE_LOCAL") or _DEFAULT_LOCAL)
    async with contextlib.AsyncExitStack() as stack:
        front = loopback.listen(front_addresses(environment), "DRAWBRIDGE_FRONT", stack)
        origin = Origin(loopback.port(front))
        for_auth = auth_settings(environment, local=local, origin=origin)
        auth_public = loopback.listen(
            [(address.host, address.port) for address in for_auth.bind], "AUTH_BIND", stack
        )
        auth_internal = loopback.listen(
            [(address.host, address.port) for address in for_auth.internal_bind],
            "AUTH_INTERNAL_BIND",
            stack,
        )
        for_gateway = gateway_settings(
            environment,
            auth=for_auth,
            auth_url=loopback.url(auth_public),
            revocations=f"{loopback.url(auth_internal)}/revocations",
            origin=origin,
        )
        gateway_internal = loopback.listen(
            for_gateway.internal_bind, "GATEWAY_INTERNAL_BIND", stack
        )
        # Only for who asks for it: the front is where clients connect.
        gateway_public = (
            loopback.listen(for_gateway.bind, "GATEWAY_BIND", stack)
            if environment.get("GATEWAY_BIND")
            else []
        )
        logs.configure(for_gateway.log_level, lines_per_minute=for_gateway.log_lines_per_minute)
        auth_service.logs.quieten()

        local.make()
        certificate.ensure(local)
        service = await stack.enter_async_context(auth_service.app.open_service(for_auth))
        gateway = await stack.enter_async_context(ws_gateway.app.open_gateway(for_gateway))
        passwords = await ensure_demo_users(service, local)

        async def drain(hurry: asyncio.Event) -> None:
            await gateway.node.drain(for_gateway.drain_seconds, hurry)
            service.revocation_log.close()

        auth_app = auth_service.app.create_app(service)
        gateway_app = ws_gateway.app.create_app(gateway)
        listeners = [
            Listener(
                app=Front(auth=auth_app, gateway=gateway_app),
                sockets=front,
                certificate=local.path(certificate.SERVER),
                key=local.path(certificate.KEY),
            ),
            Listener(app=auth_app, sockets=auth_public),
            Listener(app=auth_service.app.create_internal_app(service), sockets=auth_internal),
            Listener(app=ws_gateway.app.create_internal_app(gateway), sockets=gateway_internal),
        ]
        if gateway_public:
            listeners.append(Listener(app=gateway_app, sockets=gateway_public))
        # The kernel already takes connections in, so that nobody who is quick is refused.
        guide.show(sys.stdout, origin=origin, local=local, passwords=passwords)
        await serve(listeners, drain=drain)


def main() -> int:
    """Serve as the environment says, or say in one line why not; returns the exit status."""
    try:
        uvloop.run(run(os.environ))
    except (
        auth_service.exceptions.ConfigurationError,
        ws_gateway.exceptions.ConfigurationError,
    ) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION
    return 0
