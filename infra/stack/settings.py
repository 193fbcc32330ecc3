"""What may be chosen for the stack, and where each part of it listens.

``GATEWAYS`` says how many gateways there are and ``LIMITS=load`` lifts the limits of the front and
of log-ins.
``DRAWBRIDGE_LOCAL`` is the directory of all that is made, as for ``make run``;
``DRAWBRIDGE_PORT_OFFSET`` is added to every port, so that a second stack can stand beside the
first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import auth_service.settings
import ws_gateway.settings
from infra.embedded import loopback
from infra.embedded.local_directory import LocalDirectory
from infra.embedded.settings import (
    FRONT_PORT,
    Origin,
    auth_environment,
    auth_settings,
    gateway_environment,
)
from infra.stack import postgresql
from infra.stack.exceptions import StackError

DEFAULT_GATEWAYS = 2
MAX_GATEWAYS = 16
MAX_NGINX_WORKERS = 64
AUTH_WORKERS = 2
# Somebody waits for it, and the other gateways are a step away.
DRAIN_SECONDS = 5
# The highest of the ports stays a port.
MAX_OFFSET = 56_000
_DEFAULT_LOCAL = ".local"
_HOST = "127.0.0.1"
# A load test's users share an address; 0 is no limit.
_NO_LIMITS = dict.fromkeys(
    ("AUTH_LIMIT_LOGINS", "AUTH_LIMIT_ADDRESS", "AUTH_LIMIT_ACCOUNT", "AUTH_LIMIT_CLIENT"), "0"
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; off the programs' own defaults, so that theirs stay free.

    Attributes:
        offset: Added to each.
    """

    offset: int = 0

    @property
    def tls(self) -> int:
        """The front for clients."""
        return FRONT_PORT + self.offset

    @property
    def plain(self) -> int:
        """The front without TLS, for the suites of the SDKs."""
        return 8000 + self.offset

    @property
    def auth(self) -> int:
        """The token service."""
        return 8001 + self.offset

    @property
    def auth_internal(self) -> int:
        """Its probes and metrics."""
        return 9001 + self.offset

    @property
    def redis(self) -> int:
        """Redis."""
        return 6390 + self.offset

    @property
    def postgresql(self) -> int:
        """PostgreSQL."""
        return 5490 + self.offset

    @property
    def prometheus(self) -> int:
        """Prometheus."""
        return 9190 + self.offset

    @property
    def nginx_exporter(self) -> int:
        """Numbers of nginx as metrics."""
        return 9191 + self.offset

    @property
    def redis_exporter(self) -> int:
        """Numbers of Redis as metrics."""
        return 9192 + self.offset

    @property
    def nginx_status(self) -> int:
        """Numbers of nginx as it tells them."""
        return 9193 + self.offset

    @property
    def postgresql_exporter(self) -> int:
        """Numbers of PostgreSQL as metrics."""
        return 9194 + self.offset

    @property
    def probe(self) -> int:
        """What looks at the front as a client would."""
        return 9195 + self.offset

    def gateway(self, number: int) -> int:
        """One gateway, counted from 1."""
        return 8010 + number + self.offset

    def gateway_internal(self, number: int) -> int:
        """Its probes and metrics."""
        return 9010 + number + self.offset


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``up`` needs to know, checked.

    Attributes:
        local: Certificate, keys, users: the same as for ``make run``.
        stack: Process records, logs and data of the stack.
        ports: Who listens where.
        gateways: How many.
        nginx_workers: Processes of nginx; each carries half as many sockets as it may have files.
        limited: Whether requests, sockets and log-ins are limited.
        own_database: Whether the auth service has the stack's PostgreSQL; the caller's otherwise.
        auth: The auth service's settings.
        auth_environment: The same as its variables.
        gateway: The settings of every gateway, without its addresses.
        gateway_environment: The same as its variables.
    """

    local: LocalDirectory
    stack: LocalDirectory
    ports: Ports
    gateways: int
    nginx_workers: int
    limited: bool
    own_database: bool
    auth: auth_service.settings.Settings
    auth_environment: Mapping[str, str]
    gateway: ws_gateway.settings.Settings
    gateway_environment: Mapping[str, str]

    @property
    def origin(self) -> Origin:
        """The front."""
        return Origin(self.ports.tls)

    @property
    def postgresql(self) -> LocalDirectory:
        """PostgreSQL's data and the address with its password."""
        return _postgresql_directory(self.stack)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The loopback addresses of this machine."""
        return (_HOST, "[::1]") if loopback.has_ipv6() else (_HOST,)


def stack_directory(environment: Mapping[str, str]) -> LocalDirectory:
    """Return where the stack keeps its files; this needs no other setting to be right.

    Raises:
        ConfigurationError: The path is of an unusual kind.
    """
    return LocalDirectory(str(_local(environment).path("stack")))


def read(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        StackError: One of the stack's is wrong.
        ConfigurationError: One of a service is wrong; one line that names the variable.
    """
    local = _local(environment)
    ports = Ports(_number(environment, "DRAWBRIDGE_PORT_OFFSET", 0, 0, MAX_OFFSET))
    gateways = _number(environment, "GATEWAYS", DEFAULT_GATEWAYS, 1, MAX_GATEWAYS)
    nginx_workers = _number(environment, "NGINX_WORKERS", os.cpu_count() or 1, 1, MAX_NGINX_WORKERS)
    limits = environment.get("LIMITS", "")
    if limits not in {"", "load"}:
        raise StackError("LIMITS: must be load, or not be set")
    for variable in ("AUTH_BIND", "AUTH_INTERNAL_BIND", "GATEWAY_BIND", "GATEWAY_INTERNAL_BIND"):
        if environment.get(variable):
            raise StackError(
                f"{variable}: make up chooses the addresses; DRAWBRIDGE_PORT_OFFSET moves them all"
            )
    origin = Origin(ports.tls)
    redis_url = f"redis://{_HOST}:{ports.redis}/0"
    given = {"AUTH_TRUSTED_PROXIES": _HOST, "AUTH_REDIS_URL": redis_url}
    if environment.get("AUTH_REDIS_URL_FILE"):
        del given["AUTH_REDIS_URL"]
    own_database = not any(
        environment.get(name) for name in ("AUTH_DATABASE_URL", "AUTH_DATABASE_URL_FILE")
    )
    if own_database:
        given |= _database(stack_directory(environment), ports)
    if limits == "load":
        given |= _NO_LIMITS
    given |= {name: value for name, value in environment.items() if value} | {
        "AUTH_BIND": f"{_HOST}:{ports.auth}",
        "AUTH_INTERNAL_BIND": f"{_HOST}:{ports.auth_internal}",
    }
    auth = auth_settings(given, local=local, origin=origin)
    gateway = {
        # Every token is the front's, whichever of its two doors it came through.
        "GATEWAY_ORIGINS": f"{origin},http://localhost:{ports.plain}",
        "GATEWAY_TRUSTED_PROXIES": _HOST,
        "GATEWAY_LOG_LEVEL": "INFO",
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_DRAIN_SECONDS": str(DRAIN_SECONDS),
        **given,
    }
    for_gateway = gateway_environment(
        gateway,
        auth=auth,
        auth_url=f"http://{_HOST}:{ports.auth}",
        revocations=ws_gateway.settings.REDIS,
        origin=origin,
    )
    return Settings(
        local=local,
        stack=stack_directory(environment),
        ports=ports,
        gateways=gateways,
        nginx_workers=nginx_workers,
        limited=limits != "load",
        own_database=own_database,
        auth=auth,
        auth_environment=auth_environment(given, local=local, origin=origin),
        gateway=ws_gateway.settings.Settings.from_environment(for_gateway),
        gateway_environment=for_gateway,
    )


def _database(stack: LocalDirectory, ports: Ports) -> dict[str, str]:
    """Return the variable that names the stack's PostgreSQL."""
    file = _postgresql_directory(stack).path(postgresql.URL_FILE)
    if file.exists():
        return {"AUTH_DATABASE_URL_FILE": str(file)}
    # Before the first start there is no password yet.
    return {"AUTH_DATABASE_URL": postgresql.url(ports.postgresql)}


def _postgresql_directory(stack: LocalDirectory) -> LocalDirectory:
    return LocalDirectory(str(stack.path("postgresql")))


def _local(environment: Mapping[str, str]) -> LocalDirectory:
    return LocalDirectory(environment.get("DRAWBRIDGE_LOCAL") or _DEFAULT_LOCAL)


def _number(
    environment: Mapping[str, str], variable: str, default: int, low: int, high: int
) -> int:
    text = environment.get(variable) or str(default)
    if not re.fullmatch(r"[0-9]{1,5}", text) or not low <= int(text) <= high:
        raise StackError(f"{variable}: must be a whole number between {low} and {high}")
    return int(text)
