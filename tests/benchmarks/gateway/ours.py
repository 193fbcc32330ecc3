"""Drawbridge as the servers that are compared: each way to run it, and each way to talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.dialect import Dialect
from tests.benchmarks.gateway.issuer import Issuer
from tests.benchmarks.gateway.servers import Gateways, Server, public_port
from tests.redis_server import RedisServer

#: How many users share the sockets of a row, unless it is about their tokens: a user is limited.
USERS = 500
ROOM = "room:all"
OWN = f"room:own-{dialect.NUMBER}"
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

    def repeat(self, full: int, fast: int = 1) -> int:
        """Choose how often, or how many."""
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
    """A way to run a server for a room.

    Attributes:
        name: As the tables call it.
        start: Runs it.
        needs: Why it cannot be run, if it cannot.
    """

    name: str
    start: Callable[[], AbstractContextManager[Server]]
    needs: str = ""


def kinds(world: World) -> list[Kind]:
    """List Drawbridge's."""
    json = dialect.subscriber(ROOM, OWN), dialect.publisher(ROOM)
    bare = dialect.subscriber(ROOM, OWN, connects=False), dialect.publisher(ROOM)
    protobuf = dialect.protobuf_subscriber(ROOM, OWN), dialect.protobuf_publisher(ROOM)

    def kind(
        what: str,
        dialects: tuple[Dialect, Dialect],
        *,
        runner: str | None = None,
        redis: bool = False,
    ) -> Kind:
        name = f"Drawbridge, {what}"
        return Kind(name, lambda: _run(world, name, dialects, runner=runner, redis=redis))

    return [
        kind("JSON", json),
        kind("JSON, bare", bare),
        kind("Protobuf", protobuf),
        kind("JSON, through Redis", json, redis=True),
        kind("JSON, plain ASGI", json, runner=PLAIN_ASGI),
    ]


@contextmanager
def _run(
    world: World,
    name: str,
    dialects: tuple[Dialect, Dialect],
    *,
    runner: str | None,
    redis: bool,
) -> Iterator[Server]:
    receives, sends = dialects
    with ExitStack() as stack:
        between = stack.enter_context(redis_server(world.directory)) if redis else None
        (gateway,) = stack.enter_context(world.gateways.running(redis=between, runner=runner))
        yield Server(
            name=name,
            pids=[gateway.process.pid],
            ports=[public_port(gateway)],
            receives=receives,
            sends=sends,
            tokens=world.tokens,
        )
