"""A gateway with bugs, to see that they are found: ``python -m tests.chaos.planted ws_gateway``.

``CHAOS_PLANTED`` names them. Nothing of this is in the product: the faults are put into its
classes when this program starts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import runpy
import sys
from collections.abc import Callable
from typing import Any

from tests.chaos import hurried
from tests.chaos.schedule import Kind
from ws_gateway.broker import redis as redis_broker, redis_message
from ws_gateway.broker.base import Link, Position
from ws_gateway.eviction import Eviction
from ws_gateway.hub import Hub
from ws_gateway.protocol.messages import Publication
from ws_gateway.sockets import Socket

VARIABLE = "CHAOS_PLANTED"
EVERY = 150
"""Publications of a process between two of which something is wrong."""
LATE_SECONDS = 4.0


def dropped() -> None:
    """Now and then nobody here is given a publication."""
    broadcast, number = Hub.broadcast, itertools.count(1)

    def forgetful(hub: Hub, channel: str, publication: Publication, *more: Any) -> int:  # noqa: ANN401
        if next(number) % EVERY == 0:
            return 0
        return broadcast(hub, channel, publication, *more)

    Hub.broadcast = forgetful  # type: ignore[method-assign,assignment]


def twice() -> None:
    """Now and then everybody here is given a publication twice."""
    broadcast, number = Hub.broadcast, itertools.count(1)

    def eager(hub: Hub, channel: str, publication: Publication, *more: Any) -> int:  # noqa: ANN401
        if next(number) % EVERY == 0:
            broadcast(hub, channel, publication, *more)
        return broadcast(hub, channel, publication, *more)

    Hub.broadcast = eager  # type: ignore[method-assign,assignment]


def swapped() -> None:
    """Now and then a publication comes after the one that follows it."""
    broadcast, number = Hub.broadcast, itertools.count(1)
    held: dict[str, tuple[Any, ...]] = {}

    def muddled(hub: Hub, channel: str, publication: Publication, *more: Any) -> int:  # noqa: ANN401
        if next(number) % EVERY == 0 and channel not in held:
            held[channel] = (publication, *more)
            return 0
        told = broadcast(hub, channel, publication, *more)
        if channel in held:
            broadcast(hub, channel, *held.pop(channel))
        return told

    Hub.broadcast = muddled  # type: ignore[method-assign,assignment]


def revoked_late() -> None:
    """What a revocation closes is closed some seconds later."""
    close = Eviction.close

    def lazy(eviction: Eviction, *what: Any) -> None:  # noqa: ANN401
        asyncio.get_running_loop().call_later(LATE_SECONDS, close, eviction, *what)

    Eviction.close = lazy  # type: ignore[method-assign,assignment]


def tail_unseen() -> None:
    """No mark tells one publication from another that has its offset, and no top is compared."""
    read_message, history = redis_message.read_message, redis_broker.RedisBroker.history

    def unmarked(payload: bytes) -> tuple[Publication, Link | None, float]:
        publication, link, published_at = read_message(payload)
        if link is not None:
            link = link._replace(mark=0, previous=0)
        return publication, link, published_at

    async def forgetful(broker: Any, *what: Any, **more: Any) -> Any:  # noqa: ANN401
        found = await history(broker, *what, **more)
        return dataclasses.replace(found, position=found.position._replace(mark=0), last_mark=0)

    vars(redis_broker)["read_message"] = unmarked
    redis_broker.RedisBroker.history = forgetful  # type: ignore[method-assign,assignment]
    redis_broker.RedisBroker._seen = lambda *_: Position(0, "", 0)  # type: ignore[method-assign]
    redis_broker.RedisBroker._look_back = lambda _: None  # type: ignore[method-assign,assignment]


def closed_without_a_code() -> None:
    """Whoever is to be told a code finds the socket cut."""

    def rude(socket: Socket, _code: int, _reason: str) -> None:
        socket.abort()

    Socket.close = rude  # type: ignore[method-assign,assignment]


def stalled() -> None:
    """Now and then a channel stands still for some seconds."""
    broadcast, number = Hub.broadcast, itertools.count(1)
    held: dict[str, list[tuple[Any, ...]]] = {}

    def lame(hub: Hub, channel: str, *what: Any) -> int:  # noqa: ANN401
        if channel in held:
            held[channel].append(what)
            return 0
        if next(number) % EVERY == 0:
            held[channel] = [what]
            asyncio.get_running_loop().call_later(LATE_SECONDS, release, hub, channel)
            return 0
        return broadcast(hub, channel, *what)

    def release(hub: Hub, channel: str) -> None:
        for what in held.pop(channel):
            broadcast(hub, channel, *what)

    Hub.broadcast = lame  # type: ignore[method-assign,assignment]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        dropped,
        twice,
        swapped,
        revoked_late,
        tail_unseen,
        closed_without_a_code,
        stalled,
    )
}


_QUIET = (Kind.NGINX_RELOAD, Kind.KEY_ROTATION)
CAUSES: dict[str, tuple[Kind, ...]] = {
    dropped.__name__: _QUIET,
    twice.__name__: _QUIET,
    swapped.__name__: _QUIET,
    stalled.__name__: _QUIET,
    revoked_late.__name__: (Kind.REVOKE_TOKEN, Kind.REVOKE_SESSION),
    tail_unseen.__name__: (Kind.REDIS_TAIL,),
    closed_without_a_code.__name__: (Kind.GATEWAY_TERM,),
}
"""The faults that give each bug its occasion, and excuse it as little as possible."""


def main() -> None:
    """Plant what is wanted, and run the gateway."""
    for name in os.environ[VARIABLE].split(","):
        BUGS[name]()
    hurried.tell_lateness()
    hurried.hurry_gateway()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
