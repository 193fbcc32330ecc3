"""Drawbridge among the servers that are compared: the ways to run it, and to talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.dialect import Dialect
from tests.benchmarks.gateway.issuer import Issuer
from tests.benchmarks.gateway.servers import Gateways, Server
from tests.redis_server import RedisServer

#: How many users share the sockets of a row, unless it is about their tokens: a user is limited.
USERS = 500
ROOM = "room:all"
OWN = f"room:own-{dialect.NUMBER}"
#: A room whose members see each other.
SEEN = "seen:all"
#: Serves the same application on uvicorn's own protocols.
PLAIN_ASGI = "tests.benchmarks.gateway.plain_asgi"


@dataclass(frozen=True, slots=True)
class World:
    """What all rows share.

    Attributes:
        directory: For files.
        issuer: Of tokens.
        gateways: Ours.
        tokens: Of `USERS` users.
        fast: Whether figures are wanted soon rather than good.
    """

    directory: Path
    issuer: Issuer
    gateways: Gateways
    tokens: Path
    fast: bool

    def choose(self, full: int, fast: int = 1) -> int:
        """Choose how often, how many or how long."""
        return fast if self.fast else full


@contextmanager
def world(directory: Path, *, fast: bool) -> Iterator[World]:
    """Prepare what all rows share."""
    issuer = Issuer(directory)
    with issuer.serving() as issuers:
        gateways = Gateways(directory, issuers)
        yield World(directory, issuer, gateways, issuer.tokens(USERS), fast)


@contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """Run a Redis for the block."""
    server = RedisServer(directory).start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to run a server and talk to it.

    Attributes:
        name: As the tables call it.
        start: Runs it.
        lacks: Why it cannot be run, if it cannot.
    """

    name: str
    start: Callable[[], AbstractContextManager[Server]]
    lacks: str = ""


def drawbridge(world: World) -> Kind:
    """Return what the targets are for: as an SDK in JSON, on one gateway alone."""
    return _kind(world, "JSON", dialect.subscriber(ROOM, OWN), dialect.publisher(ROOM))


def variants(world: World) -> list[Kind]:
    """List the other ways."""
    json = dialect.subscriber(ROOM, OWN), dialect.publisher(ROOM)
    bare = dialect.subscriber(ROOM, OWN, connects=False), dialect.publisher(ROOM)
    protobuf = dialect.protobuf_subscriber(ROOM, OWN), dialect.protobuf_publisher(ROOM)
    return [
        _kind(world, "JSON, bare", *bare),
        _kind(world, "Protobuf", *protobuf),
        _kind(world, "JSON, through Redis", *json, redis=True),
        _kind(world, "JSON, plain ASGI", *json, module=PLAIN_ASGI),
    ]


def present(world: World, redis: RedisServer | None) -> Kind:
    """Return one whose clients are in a room with presence and in a channel of their own."""
    talk = dialect.subscriber(SEEN, OWN)
    return _kind(world, "JSON, presence", talk, dialect.publisher(ROOM), redis=redis)


def _kind(
    world: World,
    what: str,
    receives: Dialect,
    sends: Dialect,
    *,
    module: str = "ws_gateway",
    redis: RedisServer | bool | None = None,
) -> Kind:
    name = f"Drawbridge, {what}"
    talk = {"receives": receives, "sends": sends}
    return Kind(name, partial(_run, world, name, **talk, module=module, redis=redis))


@contextmanager
def _run(
    world: World,
    name: str,
    *,
    receives: Dialect,
    sends: Dialect,
    module: str,
    redis: RedisServer | bool | None,
) -> Iterator[Server]:
    with ExitStack() as stack:
        if redis is True:
            redis = stack.enter_context(redis_server(world.directory))
        url = redis.url if redis else ""
        running = world.gateways.running(redis_url=url, module=module)
        (gateway,) = stack.enter_context(running)
        yield Server(
            name=name,
            pids=[gateway.pid],
            ports=[gateway.port],
            receives=receives,
            sends=sends,
            tokens=world.tokens,
        )
