"""A Redis with a replica and three sentinels, of Debian's redis-server, for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.redis_cluster import wait_for
from tests.redis_guard import Guard, guarded
from tests.redis_server import RedisServer

SERVICE = "main"
# A replica may have been without its master for ten times as long, else it is not taken.
_DOWN_MILLISECONDS = 1000


class RedisSentinels:
    """Two servers, and three who say which of them is the master.

    Args:
        directory: For their files.
        guard: TLS and users; without, everybody may do everything.
        options: More of both servers' command lines.

    Attributes:
        servers: The first one is the master at the beginning.
        sentinels: They may be killed too.
    """

    def __init__(
        self, directory: Path, guard: Guard | None = None, options: Sequence[str] = ()
    ) -> None:
        self._guard = guard
        self.servers: list[RedisServer] = []
        for name in ("a", "b"):
            place = directory / name
            place.mkdir()
            self.servers.append(
                RedisServer(
                    place,
                    *("--repl-diskless-sync-delay", "0"),
                    *options,
                    *(guard.server_options if guard else ()),
                    **guarded(guard),
                )
            )
        self.sentinels: list[RedisServer] = []
        for number in range(3):
            place = directory / f"s{number}"
            place.mkdir()
            configuration = place / "sentinel.conf"
            configuration.write_text(self._configuration())
            self.sentinels.append(
                RedisServer(
                    place,
                    "--sentinel",
                    *(guard.sentinel_options if guard else ()),
                    configuration=configuration,
                    **guarded(guard),
                )
            )

    @property
    def url(self) -> str:
        """For the setting."""
        return self.url_of("")

    def url_of(self, user: str) -> str:
        """For the setting, for a user of the guard's."""
        hosts = ",".join(f"127.0.0.1:{sentinel.door}" for sentinel in self.sentinels)
        if self._guard is None:
            return f"redis+sentinel://{hosts}/{SERVICE}"
        return self._guard.url("sentinel", user, hosts, f"/{SERVICE}")

    def _configuration(self) -> str:
        lines = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].door} 2",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_MILLISECONDS}",
            f"sentinel failover-timeout {SERVICE} 5000",
            self._guard.sentinel_configuration if self._guard else "",
        )
        return "\n".join(lines)

    def start(self) -> Self:
        """Start them, and wait until the sentinels know each other and the replica."""
        master, replica = self.servers
        master.start()
        replica.start()
        replica.ask("REPLICAOF", "127.0.0.1", master.door)
        wait_for(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
        for sentinel in self.sentinels:
            sentinel.start()
        wait_for(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))
        return self

    def kill(self) -> None:
        """End all of them."""
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def master_port(self) -> int:
        """Return the door of the server that all sentinels name; 0 while they differ."""
        named = {
            int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
            for sentinel in self.sentinels
        }
        return named.pop() if len(named) == 1 else 0

    def _knows_all(self, sentinel: RedisServer) -> bool:
        said = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        state = dict(zip(said[::2], said[1::2], strict=True))
        return (state[b"num-other-sentinels"], state[b"num-slaves"]) == (b"2", b"1")
