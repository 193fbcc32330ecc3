"""The servers that are compared, each as processes of its own on free ports."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from infra.stack import readiness
from infra.stack.readiness import Check
from tests.benchmarks.gateway.accounting import cpu_of, rss_of
from tests.benchmarks.gateway.dialect import PLAIN, Dialect
from tests.benchmarks.gateway.generator import build
from tests.free_ports import free_ports

#: Also where others keep the machine busy.
START_SECONDS = 120
_STOP_SECONDS = 5
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


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway.

    Attributes:
        pid: Its process.
        port: Where it takes sockets.
    """

    pid: int
    port: int


@contextmanager
def command(
    name: str,
    words: Sequence[str],
    port: int,
    environment: Mapping[str, str] | None = None,
    *,
    ready: Check | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block.

    Args:
        name: As the tables call it.
        words: What runs it.
        port: Where it takes sockets.
        environment: More variables.
        ready: Says when it has started; when its port answers unless given.
    """
    variables = {**os.environ, **(environment or {})}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(words, env=variables, stdout=output, stderr=output)  # noqa: S603 - our own words only
        try:
            _wait(name, process, ready or (lambda: _listens(port)), output)
            yield process
        finally:
            # nginx, killed, would leave its workers behind.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            process.kill()
            process.wait()


def _wait(name: str, process: subprocess.Popen[bytes], ready: Check, output: BinaryIO) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
            raise AssertionError(f"{name} does not start ({process.returncode}): {said}")
        time.sleep(0.05)


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
        self._issuers = issuers
        self._channels = directory / "channels.toml"
        self._channels.write_text(CHANNELS, "utf-8")

    @contextmanager
    def running(
        self, count: int = 1, *, redis_url: str = "", module: str = "ws_gateway"
    ) -> Iterator[list[Gateway]]:
        """Run some until the end of the block.

        Args:
            count: How many.
            redis_url: Through which they are connected; each is alone if it is empty.
            module: What Python runs.
        """
        with ExitStack() as stack:
            yield [stack.enter_context(self._run(redis_url, module)) for _ in range(count)]

    @contextmanager
    def _run(self, redis_url: str, module: str) -> Iterator[Gateway]:
        port, internal = free_ports(2)
        environment = {
            "GATEWAY_BIND": f"127.0.0.1:{port}",
            "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
            "GATEWAY_ISSUERS": self._issuers,
            "GATEWAY_CHANNELS_FILE": str(self._channels),
            "GATEWAY_DRAIN_SECONDS": "0",
            "GATEWAY_HANDSHAKES_PER_SECOND": "0",
            "GATEWAY_REDIS_URL": redis_url,
        }
        words = [sys.executable, "-m", module]
        ready = readiness.answers(internal, "/health/ready")
        with command("the gateway", words, port, environment, ready=ready) as process:
            yield Gateway(process.pid, port)
