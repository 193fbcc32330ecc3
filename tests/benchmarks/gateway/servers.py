"""The servers that are compared, each as processes of its own on free ports."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.attacks.running import Process
from tests.benchmarks.gateway.accounting import cpu_of, rss_of
from tests.benchmarks.gateway.dialect import PLAIN, Dialect
from tests.benchmarks.gateway.generator import build
from tests.integration.embedded import free_ports
from tests.redis_server import RedisServer

#: Also where others keep the machine busy.
START_SECONDS = 120
CHANNELS = """
[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_client = true

[namespaces.kept]
allow_subscribe_for_client = true
allow_publish_for_client = true
history_size = 10
history_ttl = "60s"

[namespaces.seen]
allow_subscribe_for_client = true
presence = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        name: As the tables call it.
        pids: Its processes; those they have started count with them.
        ports: Where it takes sockets.
        receives: What its subscribers say.
        sends: What its publishers say.
        tokens: For `{token}`, one a line.
    """

    name: str
    pids: Sequence[int]
    ports: Sequence[int]
    receives: Dialect = PLAIN
    sends: Dialect = PLAIN
    tokens: Path | None = None

    @property
    def cpu(self) -> float:
        """The CPU seconds it has used."""
        return cpu_of(self.pids)

    @property
    def rss(self) -> int:
        """The bytes of memory it has."""
        return rss_of(self.pids)


@contextmanager
def command(
    name: str, words: Sequence[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; it is ready once its port answers."""
    variables = {**os.environ, **(environment or {})}
    process = subprocess.Popen(words, env=variables, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words only
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert process.poll() is None, f"{name} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{name} does not listen"
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def floor() -> Iterator[Server]:
    """Run the C program with one `send()` a delivery."""
    (port,) = free_ports(1)
    with command("floor", [str(build("floor")), str(port)], port) as process:
        yield Server(name="C, one send() a delivery", pids=[process.pid], ports=[port])


class Gateways:
    """Drawbridge's gateways on one machine.

    Args:
        directory: For their files.
        issuers: The value of GATEWAY_ISSUERS.
    """

    def __init__(self, directory: Path, issuers: str) -> None:
        self._directory = directory
        self._issuers = issuers
        self._started = 0

    @contextmanager
    def running(
        self,
        count: int = 1,
        *,
        redis: RedisServer | None = None,
        runner: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[list[Process]]:
        """Run some until the end of the block.

        Args:
            count: How many.
            redis: Through which they are connected; must be running.
            runner: See `Process`.
            settings: More of them.
        """
        channels = self._directory / "channels.toml"
        channels.write_text(CHANNELS, "utf-8")
        with ExitStack() as stack:
            processes = []
            for _ in range(count):
                self._started += 1
                directory = self._directory / f"gateway-{self._started}"
                directory.mkdir()
                port, internal = free_ports(2)
                environment = {
                    "GATEWAY_BIND": f"127.0.0.1:{port}",
                    "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
                    "GATEWAY_ISSUERS": self._issuers,
                    "GATEWAY_CHANNELS_FILE": str(channels),
                    "GATEWAY_DRAIN_SECONDS": "0",
                    **({"GATEWAY_REDIS_URL": redis.url} if redis else {}),
                    **(settings or {}),
                }
                process = Process(
                    directory,
                    "ws_gateway",
                    environment=environment,
                    internal=internal,
                    runner=runner,
                    start_seconds=START_SECONDS,
                )
                stack.callback(_end, process)
                process.start()
                processes.append(process)
            yield processes


def public_port(gateway: Process) -> int:
    """Return where a gateway takes sockets."""
    return int(gateway.environment["GATEWAY_BIND"].rpartition(":")[2])


def _end(gateway: Process) -> None:
    # Thousands of sockets are no test of a drain.
    gateway.internal.close()
    gateway.process.kill()
    gateway.process.wait()
