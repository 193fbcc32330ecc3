"""Debian's redis-server on a free port, for the tests; keeps nothing unless its options say so."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tests.free_ports import free_ports

START_SECONDS = 90


class RedisServer:
    """One redis-server process; it may be killed and started again on the same port.

    Args:
        directory: For its files.
        options: Of its command line.
        configuration: A file that it reads, and writes to.
        login: The user, and his password, that `ask` is; whoever needs none unless given.
        tls: It has a port for TLS, too.

    Attributes:
        port: For the test.
        door: For everybody else: that for TLS if it has one.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        configuration: Path | None = None,
        login: tuple[str | None, str | None] = (None, None),
        tls: bool = False,
    ) -> None:
        self.port, self.door = free_ports(2) if tls else free_ports(1) * 2
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._files = [] if configuration is None else [str(configuration)]
        self._options = (*options, "--tls-port", str(self.door)) if tls else options
        self._login = login
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(  # noqa: S603 - our own words only
            [
                *("redis-server", *self._files),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--dir", str(self._directory), "--save", "", "--appendonly", "no"),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def ask(self, *command: Any) -> Any:  # noqa: ANN401 - whatever the command returns
        """Execute one command, over a connection for it alone."""
        user, password = self._login
        with contextlib.closing(
            Redis(port=self.port, protocol=2, username=user, password=password)
        ) as redis:
            return redis.execute_command(*command)  # type: ignore[no-untyped-call]

    def channels(self, pattern: str = "*") -> set[bytes]:
        """Name the channels that somebody is subscribed to, and that match."""
        return set(self.ask("PUBSUB", "CHANNELS", pattern))

    def connections(self) -> int:
        """Count the gateways' connections."""
        return bytes(self.ask("CLIENT", "LIST")).count(b"name=drawbridge-gateway")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False
