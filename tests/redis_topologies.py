"""One server, a master behind sentinels, and a cluster, for tests that ask the same of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from redis.crc import key_slot

from tests.redis_cluster import RedisCluster, wait_for
from tests.redis_guard import ADMINISTRATOR, Guard, guarded
from tests.redis_sentinel import RedisSentinels
from tests.redis_server import RedisServer

KINDS = ("single", "sentinel", "cluster")


class GuardedRedis:
    """Servers of one kind that speak TLS, and only to the users of the documentation.

    Args:
        kind: Of `KINDS`.
        directory: For their files.
        gateways: Users with the rights of a gateway.

    Attributes:
        servers: Those that have data.
        sentinels: Those that have none.
        behind: What is more than one server; None where that is all.
    """

    def __init__(self, kind: str, directory: Path, *gateways: str) -> None:
        self.kind = kind
        self._guard = Guard(directory, *gateways)
        self.behind: RedisCluster | RedisSentinels | None = None
        self.sentinels: list[RedisServer] = []
        if kind == "single":
            server = RedisServer(directory, *self._guard.server_options, **guarded(self._guard))
            self.servers = [server]
            return
        make = RedisCluster if kind == "cluster" else RedisSentinels
        self.behind = make(directory, self._guard)
        self.servers = self.behind.servers
        if isinstance(self.behind, RedisSentinels):
            self.sentinels = self.behind.sentinels

    def start(self) -> Self:
        """Start all, and wait until they know each other."""
        if self.behind is None:
            self.servers[0].start()
        else:
            self.behind.start()
        return self

    def kill(self) -> None:
        """End all."""
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def url_of(self, user: str) -> str:
        """For the setting."""
        if self.behind is not None:
            return self.behind.url_of(user)
        return self._guard.url("", user, f"127.0.0.1:{self.servers[0].door}")

    def gather(self, *keys: bytes) -> None:
        """Have keys where `lose_the_tail` happens; they are not there yet."""
        if isinstance(self.behind, RedisCluster):
            for key in keys:
                owner, first = self.behind.owner(key), self.behind.masters[0]
                if owner is not first:
                    self.behind.move(key_slot(key), owner, first)

    def part(self) -> None:
        """Let nothing be kept any more of what is written."""
        if self.behind is None:
            self.servers[0].ask("SAVE")
            return
        replica, written = self.survivor, self.servers[0].ask("INFO", "replication")
        wait_for(
            lambda: (
                replica.ask("INFO", "replication")["slave_repl_offset"]
                >= written["master_repl_offset"]
            )
        )
        replica.ask("CONFIG", "SET", "masterauth", "wrong")
        replica.ask("CLIENT", "KILL", "TYPE", "master")
        wait_for(lambda: replica.ask("INFO", "replication")["master_link_status"] == "down")

    def lose_the_tail(self) -> None:
        """Kill what has been written to since then; what comes in its place has none of that."""
        self.servers[0].kill()
        if self.behind is None:
            self.servers[0].start()

    @property
    def survivor(self) -> RedisServer:
        """The server that has it all after `lose_the_tail`."""
        return self.servers[-1]

    def shut_out(self, user: str) -> None:
        """Cut a user's connections, and let none of his in."""
        for server in self.servers:
            server.ask("ACL", "SETUSER", user, "off")
            server.ask("CLIENT", "KILL", "USER", user)

    def let_in(self, user: str) -> None:
        """Let a user in again."""
        for server in self.servers:
            server.ask("ACL", "SETUSER", user, "on")

    def refusals(self) -> list[dict[bytes, Any]]:
        """List what users were not allowed to do."""
        return [entry for entry in self._log() if entry[b"reason"] != b"auth"]

    def shut_out_times(self) -> int:
        """Count how often somebody was not let in."""
        return sum(int(entry[b"count"]) for entry in self._log() if entry[b"reason"] == b"auth")

    def _log(self) -> list[dict[bytes, Any]]:
        return [
            dict(zip(entry[::2], entry[1::2], strict=True))
            for server in self._alive
            for entry in server.ask("ACL", "LOG")
        ]

    def users(self, *, tls: bool) -> set[str]:
        """Name who is connected with TLS, or without it; the test is, and is left out."""
        found = set()
        for server in self._alive:
            door = f":{server.door if tls else server.port}"
            for line in bytes(server.ask("CLIENT", "LIST")).decode().splitlines():
                client = dict(part.partition("=")[::2] for part in line.split())
                if client["laddr"].endswith(door):
                    found.add(client["user"])
        return found - {ADMINISTRATOR}

    @property
    def _alive(self) -> list[RedisServer]:
        return [server for server in (*self.servers, *self.sentinels) if server.alive]
