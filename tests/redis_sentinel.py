"""A Redis with a replica and three sentinels, of Debian's redis-server, for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.redis_cluster import wait_for
from tests.redis_server import RedisServer

SERVICE = "main"
# A replica may have been without its master for ten times as long, else it is not taken.
_DOWN_MILLISECONDS = 1000


class RedisSentinels:
    """Two servers, and three who say which of them is the master.

    Args:
        directory: For their files.
        options: Of both servers.

    Attributes:
        servers: The first one is the master at the beginning.
        sentinels: They may be killed too.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.servers: list[RedisServer] = []
        for name in ("a", "b"):
            place = directory / name
            place.mkdir()
            self.servers.append(RedisServer(place, "--repl-diskless-sync-delay", "0", *options))
        self.sentinels: list[RedisServer] = []
        for number in range(3):
            place = directory / f"s{number}"
            place.mkdir()
            configuration = place / "sentinel.conf"
            configuration.touch()
            self.sentinels.append(RedisServer(place, "--sentinel", configuration=configuration))

    @property
    def url(self) -> str:
        """For the setting."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def start(self) -> Self:
        """Start them, and wait until the sentinels know each other and the replica."""
        master, replica = self.servers
        master.start()
        replica.start()
        replica.ask("REPLICAOF", "127.0.0.1", master.port)
        wait_for(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
        for sentinel in self.sentinels:
            sentinel.start()
            sentinel.ask("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", master.port, 2)
            for name, value in (
                ("down-after-milliseconds", _DOWN_MILLISECONDS),
                ("failover-timeout", 5000),
            ):
                sentinel.ask("SENTINEL", "SET", SERVICE, name, value)
        wait_for(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))
        return self

    def kill(self) -> None:
        """End all of them."""
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def master_port(self) -> int:
        """Return the port of the server that all sentinels name; 0 while they differ."""
        named = {
            int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
            for sentinel in self.sentinels
        }
        return named.pop() if len(named) == 1 else 0

    def _knows_all(self, sentinel: RedisServer) -> bool:
        said = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        state = dict(zip(said[::2], said[1::2], strict=True))
        return (state[b"num-other-sentinels"], state[b"num-slaves"]) == (b"2", b"1")
