"""Clients of the Redis that a setting names: a server, a master behind sentinels, a cluster."""

from __future__ import annotations

import re
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError, MovedError, RedisError
from typing_extensions import override

_SECONDS = 2.0
_SEVERAL = re.compile(
    r"(rediss?)\+(sentinel|cluster)://(?:([^@/?#\s]*)@)?([^@/?#\s]+)(?:/([^?#\s]*))?(?:\?([^#\s]*))?"
)
_SENTINEL_PORT = 26379


def check(url: str) -> str:
    """Return the URL of a Redis, or none.

    Raises:
        ValueError: It is neither; the text quotes nothing of it.
    """
    if not re.fullmatch(r"(rediss?://[^\s#]+|unix:///[^\s#]+)?", url):
        several = _SEVERAL.fullmatch(url)
        if several is None:
            raise ValueError(
                "must be redis://, rediss:// or unix:// with an address,"
                " or one with +sentinel or +cluster"
            )
        if several[2] == "sentinel" and not several[5]:
            raise ValueError(
                "must name the master, as in redis+sentinel://HOST:26379,HOST:26379/NAME"
            )
    return url


def connect(url: str, key: str) -> Redis:
    """Make a client that gives up soon; nothing is connected yet.

    Args:
        url: As `check` takes it.
        key: The one that it is for; of a cluster it speaks to the server that has it.

    Raises:
        ValueError: The URL is none.
    """
    options: dict[str, Any] = {
        "socket_timeout": _SECONDS,
        "socket_connect_timeout": _SECONDS,
        # Nothing to say about itself, so its user needs no right to.
        "driver_info": None,
    }
    several = _SEVERAL.fullmatch(url)
    if several is None:
        return Redis.from_url(url, max_connections=2, **options)
    scheme, kind, user, hosts, path, query = several.groups(default="")
    service, _, database = path.partition("/")
    nodes: list[tuple[str, int]] = []
    given: dict[str, Any] = {}
    for host in hosts.split(","):
        given = dict(parse_url(f"{scheme}://{user}@{host}/{database}?{query}"))
        default = _SENTINEL_PORT if kind == "sentinel" else 6379
        nodes.append((given.pop("host", ""), given.pop("port", default)))
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = True
    options |= given
    if kind == "cluster":
        return _of_the_owner(nodes, key, options)
    return _behind_sentinels(nodes, service, options)


def _of_the_owner(nodes: list[tuple[str, int]], key: str, options: dict[str, Any]) -> Redis:
    # redis-py's client of clusters runs transactions in a loop of their own, where its connections
    # do not work.
    seeds = [Redis(host=host, port=port, **options) for host, port in nodes]
    kind = _OwnersTLSConnection if options.pop("ssl", False) else _OwnersConnection
    pool = ConnectionPool(connection_class=kind, max_connections=2, seeds=seeds, key=key, **options)
    return Redis.from_pool(pool)


class _OwnersConnection(Connection):
    """Goes to the server of a cluster that has a key, each time it is opened."""

    def __init__(self, *, seeds: list[Redis], key: str, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        super().__init__(**options)
        self._seeds = seeds
        self._slot = key_slot(key.encode())

    @override
    async def connect(self) -> None:
        if not self.is_connected:
            self.host, self.port = await self._find()
        await super().connect()  # type: ignore[no-untyped-call]

    @override
    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except MovedError as error:
            await self.disconnect()
            raise RedisConnectionError("the key is with another server now") from error

    async def _find(self) -> tuple[str, int]:
        for seed in self._seeds:
            try:
                slots: Any = await seed.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            except (RedisError, OSError):
                continue
            finally:
                await seed.aclose()
            for first, last, (host, port, *_), *_ in slots:
                if first <= self._slot <= last:
                    asked = seed.connection_pool.connection_kwargs["host"]
                    # A server that does not know its own address says none.
                    return (host.decode() if host else asked), int(port)
        raise RedisConnectionError("no server of the cluster names the one that has the key")


class _OwnersTLSConnection(_OwnersConnection, SSLConnection):
    """The same, encrypted."""


def _behind_sentinels(nodes: list[tuple[str, int]], service: str, options: dict[str, Any]) -> Redis:
    for_sentinels = {
        name: value for name, value in options.items() if name.startswith(("ssl", "socket_"))
    }
    for word in ("username", "password"):
        if f"sentinel_{word}" in options:
            for_sentinels[word] = options.pop(f"sentinel_{word}")
    sentinels = Sentinel(nodes, sentinel_kwargs=for_sentinels | {"driver_info": None})  # type: ignore[no-untyped-call]
    pool = _Pool(service, sentinels, max_connections=2, **options)  # type: ignore[no-untyped-call]
    return Redis.from_pool(pool)


class _Pool(SentinelConnectionPool):
    """Closes its connections to sentinels together with those to the master."""

    @override
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()
