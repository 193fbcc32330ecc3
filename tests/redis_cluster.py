"""A Redis Cluster of Debian's redis-server, for the tests: three masters, and a replica."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from redis.crc import key_slot

from tests.integration.embedded import free_ports
from tests.redis_guard import ADMINISTRATOR, PASSWORD, Guard, guarded
from tests.redis_server import RedisServer

SLOTS = 16_384
_MASTERS = 3
_SECONDS = 30


class RedisCluster:
    """Several redis-server processes that share the slots.

    Args:
        directory: For their files.
        guard: TLS and users; without, everybody may do everything.

    Attributes:
        masters: Those that have slots at first.
        replica: Of the first one.
    """

    def __init__(self, directory: Path, guard: Guard | None = None) -> None:
        self._guard = guard
        self._buses: dict[int, int] = {}
        self.masters = [self._server(directory / f"{number}") for number in range(_MASTERS)]
        self.replica = self._server(directory / "replica")
        self.servers = [*self.masters, self.replica]

    @property
    def url(self) -> str:
        """For the setting; it names one master only, not the first."""
        return self.url_of("")

    def url_of(self, user: str) -> str:
        """For the setting, for a user of the guard's."""
        host = f"127.0.0.1:{self.masters[-1].door}"
        return self._guard.url("cluster", user, host) if self._guard else f"redis+cluster://{host}"

    def _server(self, directory: Path) -> RedisServer:
        directory.mkdir()
        (bus,) = free_ports(1)
        server = RedisServer(
            directory,
            *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
            *("--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"),
            *("--repl-diskless-sync-delay", "0"),
            *((*self._guard.server_options, "--tls-cluster", "yes") if self._guard else ()),
            **guarded(self._guard),
        )
        self._buses[server.port] = bus
        return server

    def start(self) -> Self:
        """Start them, and wait until all agree on who has what."""
        for epoch, server in enumerate(self.servers, 1):
            server.start()
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for number, server in enumerate(self.masters):
            first, last = SLOTS * number // _MASTERS, SLOTS * (number + 1) // _MASTERS - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for server in self.servers[1:]:
            bus = self._buses[server.port]
            self.masters[0].ask("CLUSTER", "MEET", "127.0.0.1", server.door, bus)
        wait_for(
            lambda: all(
                self._says(server, f"cluster_known_nodes:{len(self.servers)}")
                for server in self.servers
            )
        )
        self.replica.ask("CLUSTER", "REPLICATE", self.id(self.masters[0]))
        wait_for(lambda: all(self._says(server, "cluster_state:ok") for server in self.servers))
        wait_for(lambda: self.replica.ask("INFO", "replication")["master_link_status"] == "up")
        return self

    def kill(self) -> None:
        """End those that still run."""
        for server in self.servers:
            server.kill()

    def id(self, server: RedisServer) -> str:
        """Return what the others call a server."""
        return bytes(server.ask("CLUSTER", "MYID")).decode()

    def owner(self, key: bytes) -> RedisServer:
        """Return the server that has a key, as the last master sees it."""
        slot = key_slot(key)
        for first, last, (_, port, *_), *_ in self.masters[-1].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise AssertionError

    def other(self, server: RedisServer) -> RedisServer:
        """Return another server that has slots."""
        return next(one for one in self.masters if one is not server)

    def begin_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Begin to move a slot, as ``redis-cli --cluster reshard`` does: keys may go one by one."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target))

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move what is in it."""
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            login = ("AUTH2", ADMINISTRATOR, PASSWORD) if self._guard else ()
            source.ask("MIGRATE", "127.0.0.1", target.door, "", 0, 5000, *login, "KEYS", *keys)

    def end_move(self, slot: int, target: RedisServer) -> None:
        """Say whose it is now: to the new owner first."""
        name = self.id(target)
        for server in (target, *(one for one in self.masters if one is not target)):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move a slot with all that is in it."""
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, target)

    def flush(self) -> None:
        """Take all keys away, and wait until nobody is connected."""
        for server in self.masters:
            server.ask("FLUSHALL")
        wait_for(lambda: not any(server.connections() for server in self.servers))

    def _says(self, server: RedisServer, line: str) -> bool:
        return line.encode() in bytes(server.ask("CLUSTER", "INFO")).split(b"\r\n")


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for what servers arrange among themselves."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
