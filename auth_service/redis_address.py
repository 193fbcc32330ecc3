"""Clients of the Redis that a setting names: a server, a master behind sentinels, a cluster."""

from __future__ import annotations

import re
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
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


def connect(url: str) -> Redis | RedisCluster:
    """Make a client that gives up soon; nothing is connected yet.

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
    for host in hosts.split(","):
        read: dict[str, Any] = dict(parse_url(f"{scheme}://{user}@{host}/{database}?{query}"))
        default = _SENTINEL_PORT if kind == "sentinel" else 6379
        nodes.append((read.pop("host", ""), read.pop("port", default)))
        given = read
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = True
    options |= given
    if kind == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode(*node) for node in nodes], **options)
    return _behind_sentinels(nodes, service, options)


def _behind_sentinels(nodes: list[tuple[str, int]], service: str, options: dict[str, Any]) -> Redis:
    for_sentinels = {
        name: value for name, value in options.items() if name.startswith(("ssl", "socket_"))
    }
    for word in ("username", "password"):
        if f"sentinel_{word}" in options:
            for_sentinels[word] = options.pop(f"sentinel_{word}")
    sentinels = Sentinel(nodes, sentinel_kwargs=for_sentinels | {"driver_info": None})  # type: ignore[no-untyped-call]
    pool = _Pool(service, sentinels, max_connections=2, **options)
    return Redis.from_pool(pool)


class _Pool(SentinelConnectionPool):
    """Closes its connections to sentinels together with those to the master."""

    @override
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()
