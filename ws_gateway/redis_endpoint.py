"""Where a Redis is, as a setting says it: one server, a master behind sentinels, or a cluster."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from typing_extensions import override

Node: TypeAlias = tuple[str, int]
"""A server's host and port."""

Locate = Callable[[], Awaitable[Node]]
"""Finds out which server is the right one now.

Raises:
    RedisError, OSError: That cannot be had now.
"""

_CLIENT_NAME = "drawbridge-gateway"
_SEVERAL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://"
    r"(?:(?P<user>[^@/?#\s]*)@)?(?P<hosts>[^@/?#\s]+)(?:/(?P<path>[^?#\s]*))?(?:\?(?P<query>[^#\s]*))?"
)
_FORM = "must be a redis://, rediss:// or unix:// URL, or one with +sentinel or +cluster"
_PORTS = {"sentinel": 26379, "cluster": 6379}
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
# Several are asked within the time for connecting; one that is cut off must not use it up.
_SENTINEL_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a URL says.

    Attributes:
        kind: ``sentinel``, ``cluster``, or empty for one server.
        nodes: Sentinels, or some servers of the cluster; any that answers will do.
        service: The name of the master that sentinels watch.
        connection: Its class.
        options: Of every connection, with the password; where ``kind`` is empty, with the host.
        sentinel_options: Of connections to sentinels, which have passwords of their own.
    """

    kind: str = ""
    nodes: tuple[Node, ...] = ()
    service: str = ""
    connection: type[AbstractConnection] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_address(url: str) -> Address:
    """Read where Redis is, and how to get in.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py reads them;
            ``redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DB`` or
            ``redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT``, both also with ``rediss``.

    Raises:
        ValueError: It is none; the text does not repeat it, for it may hold a password.
    """
    several = _SEVERAL.fullmatch(url)
    try:
        address = _read_one(url) if several is None else _read_several(several)
    except ValueError as error:
        # redis-py's and urllib's texts may quote parts of the URL.
        raise ValueError(str(error) if isinstance(error, _Unfit) else _FORM) from None
    _check_files(address.options)
    try:
        sample = address.connection(**address.options)
    except (TypeError, ValueError, RedisError):
        raise ValueError("has an option that Redis connections do not have") from None
    if isinstance(sample, SSLConnection):
        try:
            sample.ssl_context.get()
        except (OSError, ValueError, RedisError) as error:
            said = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
            raise ValueError(f"its TLS files cannot be used: {said}") from None
    return address


class _Unfit(ValueError):
    """What is wrong with a URL, in words that quote nothing of it."""


def _read_one(url: str) -> Address:
    options: dict[str, Any] = dict(parse_url(url))
    kind = options.pop("connection_class", Connection)
    return Address(connection=kind, options=_with_ours(options))


def _read_several(match: re.Match[str]) -> Address:
    kind, user, query = match["kind"], match["user"] or "", match["query"] or ""
    service, _, database = (match["path"] or "").partition("/")
    if kind == "sentinel" and not service:
        raise _Unfit("must name the master, as in redis+sentinel://HOST:26379,HOST:26379/NAME")
    if kind == "cluster" and (service or database):
        raise _Unfit("must have no path: a cluster has one database")
    if database and not database.isdigit():
        raise _Unfit("must have a number as its database")
    options: dict[str, Any] = {}
    nodes: list[Node] = []
    for host in match["hosts"].split(","):
        options = dict(parse_url(f"{match['scheme']}://{user}@{host}/{database}?{query}"))
        if "host" not in options:
            raise _Unfit("has an empty address")
        nodes.append((options.pop("host"), options.pop("port", _PORTS[kind])))
    sentinel_options = {
        word: options.pop(f"sentinel_{word}")
        for word in ("username", "password")
        if f"sentinel_{word}" in options
    }
    tls = options.pop("connection_class", None) is not None
    if tls:
        sentinel_options |= {
            name: value for name, value in options.items() if name.startswith("ssl_")
        } | {"ssl": True}
    return Address(
        kind=kind,
        nodes=tuple(nodes),
        service=service,
        connection=SSLConnection if tls else Connection,
        options=_with_ours(options),
        sentinel_options=sentinel_options,
    )


def _with_ours(options: dict[str, Any]) -> dict[str, Any]:
    # RESP2: messages come as plain lists, in one order with the confirmations. Deadlines are
    # ours (None: none of redis-py's), and so is connecting again.
    return options | {
        "protocol": 2,
        "socket_timeout": None,
        "driver_info": None,
        "client_name": _CLIENT_NAME,
    }


def _check_files(options: Mapping[str, Any]) -> None:
    for name in _FILES:
        if name in options:
            try:
                Path(options[name]).read_bytes()
            except OSError as error:
                raise ValueError(f"{name}: cannot read the file: {error.strerror}") from None


class Endpoint:
    """Where to connect to.

    Args:
        address: A URL for `read_address`, or what that returns. Of several servers, the master
            that the sentinels name.
        locate: Names the server of an address that has several, instead.

    Raises:
        ValueError: The URL is none.
    """

    def __init__(self, address: str | Address, locate: Locate | None = None) -> None:
        if isinstance(address, str):
            address = read_address(address)
        self._class = address.connection
        self._options = address.options
        if locate is None and address.kind == "sentinel":
            locate = _Sentinels(address).find_master
        if locate is not None:
            tls = issubclass(address.connection, SSLConnection)
            self._class = _LocatedTLSConnection if tls else _LocatedConnection
            self._options = {**address.options, "locate": locate}

    def connection(self) -> AbstractConnection:
        """Make a connection that is not open yet."""
        return self._class(**self._options)


class _Sentinels:
    """Who knows which server is the master."""

    def __init__(self, address: Address) -> None:
        self._nodes = list(address.nodes)
        self._service = address.service
        self._options = {
            **address.sentinel_options,
            "socket_timeout": _SENTINEL_SECONDS,
            "socket_connect_timeout": _SENTINEL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
        }

    async def find_master(self) -> Node:
        """Ask one after the other; see Locate."""
        # Each time another first: one that is cut off may believe in the master of yesterday.
        random.shuffle(self._nodes)
        async with Sentinel(self._nodes, sentinel_kwargs=self._options) as sentinels:  # type: ignore[no-untyped-call]
            host, port = await sentinels.discover_master(self._service)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # Before Python 3.12 wait_for, which redis-py asks with, may lose the exception; then
            # who ends a connection would wait for it for ever.
            raise asyncio.CancelledError
        return str(host), int(port)


class _LocatedConnection(Connection):
    """A connection that asks where to go, each time it is opened."""

    def __init__(self, *, locate: Locate, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        super().__init__(**options)
        self._locate = locate

    @override
    async def connect(self) -> None:
        self.host, self.port = await self._locate()
        await super().connect()  # type: ignore[no-untyped-call]
        # Who was named may have been replaced a moment ago, or not know yet that it was.
        await self.send_command("ROLE", check_health=False)
        role = await self.read_response()
        if role[0] != b"master":
            raise RedisError("the server that was named is no master")


class _LocatedTLSConnection(_LocatedConnection, SSLConnection):
    """The same, encrypted."""
