"""The stack as ``make up`` starts it, in a directory and on ports of its own."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx2
from centrifuge import Client, ClientEventHandler

from infra.embedded.local_directory import LocalDirectory
from infra.stack import sockets
from infra.stack.processes import Processes
from infra.stack.settings import Ports

ORDER_SECONDS = 90
# All ports stay below the range from which the kernel takes those of outgoing connections.
_OFFSETS = range(12_000, 22_000, 100)


def free_offset() -> int:
    """Find an offset at which no port of a stack is taken."""
    while True:
        ports = Ports(random.choice(_OFFSETS))  # noqa: S311
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in all_ports(ports, gateways=3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return ports.offset


def all_ports(ports: Ports, *, gateways: int) -> set[int]:
    """Return where a stack listens."""
    numbers = range(1, gateways + 1)
    return {
        *(ports.tls, ports.plain, ports.auth, ports.auth_internal, ports.redis),
        ports.postgresql,
        *(ports.prometheus, ports.nginx_exporter, ports.redis_exporter, ports.nginx_status),
        *(ports.postgresql_exporter, ports.probe),
        *map(ports.gateway, numbers),
        *map(ports.gateway_internal, numbers),
    }


class Stack:
    """One stack; nothing runs before the first order.

    Args:
        directory: Of its files.
        settings: Further environment variables.
        offset: Of its ports; a free one unless given.
    """

    def __init__(
        self, directory: Path, settings: Mapping[str, str] = {}, *, offset: int | None = None
    ) -> None:
        self.local = directory / "local"
        self.ports = Ports(free_offset() if offset is None else offset)
        self.settings = dict(settings)
        self.url = f"https://localhost:{self.ports.tls}"
        self.websocket_url = f"wss://localhost:{self.ports.tls}/connection/websocket"

    def order(self, order: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run ``python -m infra.stack``."""
        given = {name: str(value) for name, value in variables.items()}
        own = ("AUTH_", "GATEWAY", "DRAWBRIDGE_", "LIMITS", "PROMETHEUS_")
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(own)}
        environment = inherited | self.settings | given
        environment |= {
            "DRAWBRIDGE_LOCAL": str(self.local),
            "DRAWBRIDGE_PORT_OFFSET": str(self.ports.offset),
        }
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "infra.stack", order],
            env=environment,
            capture_output=True,
            text=True,
            timeout=ORDER_SECONDS,
            check=False,
        )

    def up(self, gateways: int, **variables: object) -> str:
        """Bring it up; returns what was printed."""
        done = self.order("up", GATEWAYS=gateways, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @property
    def processes(self) -> Processes:
        """What it remembers of its processes."""
        return Processes(LocalDirectory(str(self.local / "stack")))

    def pids(self) -> dict[str, int]:
        """Return the running parts."""
        records = {name: self.processes.running(name) for name in self.processes.names()}
        return {name: record.pid for name, record in records.items() if record}

    def listening(self) -> set[sockets.Address]:
        """Return every address on which any process of it listens."""
        members = [pid for name in self.processes.names() for pid in self.processes.members(name)]
        return sockets.listening(members)

    def ask(self, port: int, path: str) -> str:
        """Ask a part over its own port."""
        with self.http() as http:
            answer = http.get(f"http://127.0.0.1:{port}{path}")
        assert answer.status_code == httpx2.codes.OK
        return answer.text

    def metric(self, port: int, name: str) -> float:
        """Read a series."""
        for line in self.ask(port, "/metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise LookupError(name)

    @property
    def context(self) -> ssl.SSLContext:
        """What a client trusts."""
        return ssl.create_default_context(cafile=self.local / "ca.pem")

    def http(self) -> httpx2.Client:
        """Make a client of the front."""
        return httpx2.Client(base_url=self.url, verify=self.context, trust_env=False)

    @property
    def passwords(self) -> dict[str, str]:
        """The demo users' passwords."""
        lines = (self.local / "demo-users.txt").read_text().splitlines()
        return dict(line.split(":", 1) for line in lines)

    def token(self, user: str = "alice") -> str:
        """Log in."""
        form = {"grant_type": "password", "username": user, "password": self.passwords[user]}
        with self.http() as http:
            answer = http.post("/token", data=form)
        assert answer.status_code == httpx2.codes.OK, answer.text
        return str(answer.json()["access_token"])

    def me(self, token: str) -> str:
        """Return whose token it is."""
        with self.http() as http:
            answer = http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == httpx2.codes.OK, answer.text
        return str(answer.json()["sub"])

    @contextlib.asynccontextmanager
    async def sdk(
        self, token: str, events: ClientEventHandler | None = None, *, url: str = ""
    ) -> AsyncIterator[Client]:
        """Connect the official SDK through nginx."""
        client = Client(
            url or self.websocket_url,
            events,
            token=token,
            ssl_context=None if url.startswith("ws:") else self.context,
            proxy=None,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.2,
        )
        await client.connect()
        await client.ready()
        try:
            yield client
        finally:
            connection = client._conn
            await client.disconnect()
            if connection is not None:  # it closes behind the SDK's back, and nginx takes a moment
                await connection.wait_closed()
