"""The stack that `make chaos` shakes: nginx, auth, Redis, three gateways, and networks between.

Everything is a process of its own; each gateway reaches Redis through a proxy, and a third of the
clients reach nginx through one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from auth_service.app import Service, open_service
from auth_service.settings import Settings
from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from infra.stack import nginx, programs
from tests.attacks.conftest import WITHOUT_LIMITS
from tests.chaos import hurried
from tests.chaos.proxy import Proxy
from tests.chaos.raw_client import GATEWAY
from tests.chaos.redis_world import OneServer, Sentinels
from tests.chaos.schedule import GATEWAYS
from tests.chaos.tokens import CLIENT, PASSWORD
from tests.integration.embedded import free_ports

START_SECONDS = 60
STOP_SECONDS = 60
_POLL_SECONDS = 0.05
_REPLY_SECONDS = 5.0
_OK = 200
TOKEN_SECONDS = 60
STALL_SECONDS = 3
GRACE_SECONDS = 10
CLOCK_SECONDS = 20
"""By how much the token service's clock may be wrong, at most."""

CHANNELS = """
[namespaces.kept]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
history_size = 5000
history_ttl = "3600s"
force_recovery = true

[namespaces.short]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
history_size = 10
history_ttl = "3600s"
force_recovery = true

[namespaces.flood]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
"""


class Program:
    """One process of the stack, which may end and begin again.

    Args:
        name: Of its log.
        command: What runs.
        directory: Of its log.
        environment: Its settings; nothing of the caller's with the same beginnings.
        probe: The port whose ``/health/ready`` says that it works; 0: it has none.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        directory: Path,
        *,
        environment: Mapping[str, str] = {},
        probe: int = 0,
    ) -> None:
        self.name = name
        self.probe = probe
        self._command = command
        self.log = directory / f"{name}.log"
        self._environment = {
            variable: value
            for variable, value in os.environ.items()
            if not variable.startswith(("AUTH_", "GATEWAY_", "DRAWBRIDGE_", "PROMETHEUS_"))
        } | dict(environment)
        self.process: subprocess.Popen[bytes] | None = None
        self.tree: Path | None = None

    def start(self) -> None:
        """Start it; it is not ready yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own words only
                self._command if self.tree is None else _previous(self._command),
                env=self._environment | ({"PYTHONPATH": str(self.tree)} if self.tree else {}),
                cwd=self.tree,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.process is not None and self.running:
            self.process.send_signal(number)

    async def gone(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it has ended; returns the status.

        Raises:
            TimeoutError: It has not.
        """
        assert self.process is not None
        try:
            async with asyncio.timeout(seconds):
                while self.process.poll() is None:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{self.name} has not ended: {self._last_words()}") from None
        return self.process.returncode

    async def conditions(self) -> dict[str, bool] | None:
        """Ask what its readiness depends on; None if nobody answers."""
        status, answer = await self._get("/health/ready")
        return dict(json.loads(answer)["conditions"]) if status else None

    async def metric(self, series: str) -> float:
        """Read one series; 0 if there is none, or nobody answers."""
        for line in (await self._get("/metrics"))[1].splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it is ready.

        Raises:
            TimeoutError: It does not become so; the text is the end of its log.
            RuntimeError: It has ended; the same.
        """
        try:
            async with asyncio.timeout(seconds):
                while not await self.is_ready():
                    if not self.running:
                        raise RuntimeError(f"{self.name} has ended: {self._last_words()}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{self.name} is not ready: {self._last_words()}") from None

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2000:]

    async def is_ready(self) -> bool:
        """Ask once."""
        return (await self._get("/health/ready"))[0] == _OK

    async def _get(self, path: str) -> tuple[int, str]:
        """Return status and body; 0 if nobody answers."""
        writer = None
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.probe)
                head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                answer = await reader.read()
        except (OSError, TimeoutError):
            return 0, ""
        finally:
            if writer is not None:
                writer.transport.abort()
        head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
        return (int(head[9:12]), body) if head.startswith("HTTP/1.1 ") else (0, "")


class World:
    """The stack.

    Args:
        directory: For all files; new.
        users: Who may log in.
        runner: A module that runs the gateways; see ``tests.chaos.hurried``.
        settings: More ``GATEWAY_*``.
        sentinels: Redis is a master, a replica, and three who say which is which.
        previous: A working tree of the version before.

    Attributes:
        redis: What the gateways share.
        gateways: Three of them.
        links: The proxy between each and Redis; none where sentinels say where that is.
        rough: The proxy between some clients and nginx.
        auth: The token service.
        front: nginx.
    """

    def __init__(
        self,
        directory: Path,
        users: list[str],
        *,
        runner: str = "tests.chaos.hurried",
        settings: Mapping[str, str] = {},
        sentinels: bool = False,
        previous: Path | None = None,
    ) -> None:
        self.directory = directory
        self.users = users
        self.local = LocalDirectory(str(directory / "local"))
        self.local.make()
        certificate.ensure(self.local)
        (self.tls, self.plain, self.status, rough, auth, internal, *ports) = free_ports(
            6 + 3 * GATEWAYS
        )
        publics, internals, links = (ports[at::3] for at in range(3))
        self.previous = previous
        self.redis: OneServer | Sentinels = (
            Sentinels(directory) if sentinels else OneServer(directory)
        )
        self.links = [] if sentinels else [Proxy(port, self.redis.master.port) for port in links]
        self.rough = Proxy(rough, self.plain)
        self.front_url = f"https://localhost:{self.tls}"
        self.clock_file = directory / "clock"
        self.auth_environment = {
            **WITHOUT_LIMITS,
            "AUTH_BIND": f"127.0.0.1:{auth}",
            "AUTH_INTERNAL_BIND": f"127.0.0.1:{internal}",
            "AUTH_ISSUER": self.front_url,
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{directory}/auth.db",
            "AUTH_KEYS_DIR": str(directory / "keys"),
            "AUTH_DEFAULT_CLIENT": "chat",
            "AUTH_ACCESS_TOKEN_SECONDS": str(TOKEN_SECONDS),
            "AUTH_REDIS_URL": self.redis.url,
            "AUTH_TRUSTED_PROXIES": "127.0.0.1",
        }
        clock = {"CHAOS_CLOCK": str(self.clock_file)}
        self.auth = Program(
            "auth",
            (sys.executable, "-m", "tests.chaos.hurried", "auth_service", "serve"),
            directory,
            environment=self.auth_environment | clock,
            probe=internal,
        )
        self.gateways = [
            Program(
                f"gateway-{number}",
                (sys.executable, "-m", runner, "ws_gateway"),
                directory,
                environment=self._gateway_environment(auth, public, inside, link)
                | {"CHAOS_LAGS": str(directory / f"gateway-{number}.jsonl")}
                | dict(settings),
                probe=inside,
            )
            for number, (public, inside, link) in enumerate(
                zip(publics, internals, links, strict=True)
            )
        ]
        folder = directory / "nginx"
        self.front = Program(
            "nginx", nginx.command(programs.find("nginx"), folder, directory), directory
        )
        files = nginx.render(self._place(folder, auth, publics))
        names = {port: program.name for port, program in zip(publics, self.gateways, strict=True)}
        files["nginx.conf"] = _naming(files["nginx.conf"], names)
        nginx.write(files, folder)

    def _gateway_environment(
        self, auth: int, public: int, internal: int, link: int
    ) -> dict[str, str]:
        channels = self.directory / "channels.toml"
        channels.write_text(CHANNELS)
        issuer = {
            "issuer": self.front_url,
            "jwks_url": f"http://127.0.0.1:{auth}/.well-known/jwks.json",
            "audience": "drawbridge",
            "revocations": "redis",
        }
        return {
            "GATEWAY_BIND": f"127.0.0.1:{public}",
            "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
            "GATEWAY_ISSUERS": json.dumps([issuer]),
            "GATEWAY_ORIGINS": self.front_url,
            "GATEWAY_REDIS_URL": f"redis://127.0.0.1:{link}" if self.links else self.redis.url,
            "GATEWAY_CHANNELS_FILE": str(channels),
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
            "GATEWAY_MAX_UNAUTHENTICATED_PER_ADDRESS": "10000",
            "GATEWAY_DRAIN_SECONDS": "1",
            "GATEWAY_MAX_STALL_SECONDS": str(STALL_SECONDS),
            "GATEWAY_EXPIRY_GRACE_SECONDS": str(GRACE_SECONDS),
            "GATEWAY_POSITION_CHECK_SECONDS": "5",
            "GATEWAY_PING_INTERVAL": "5",
            "GATEWAY_PONG_TIMEOUT": "4",
        }

    def _place(self, folder: Path, auth: int, gateways: list[int]) -> nginx.Place:
        return nginx.Place(
            tls=[f"127.0.0.1:{self.tls}"],
            plain=[f"127.0.0.1:{self.plain}"],
            status=[f"127.0.0.1:{self.status}"],
            auth=[f"127.0.0.1:{auth}"],
            gateways=[f"127.0.0.1:{port}" for port in gateways],
            certificate=os.path.relpath(self.local.path(certificate.SERVER), folder),
            key=os.path.relpath(self.local.path(certificate.KEY), folder),
            limits=None,
            workers=1,
            open_files=4096,
            linger_seconds=600,
            silence_seconds=nginx.MIN_SILENCE_SECONDS,
            logs="..",
            run=".",
        )

    @property
    def authority(self) -> Path:
        """Whom clients trust."""
        return self.local.path(certificate.CA)

    def url(self, *, secure: bool, rough: bool = False) -> str:
        """Return a door's address."""
        path = "connection/websocket"
        if secure:
            return f"wss://localhost:{self.tls}/{path}"
        return f"ws://127.0.0.1:{self.rough.port if rough else self.plain}/{path}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Start everything, and stop what is left at the end."""
        try:
            await self.redis.start()
            for link in (*self.links, self.rough):
                await link.start()
            # Each becomes ready when what it needs is there.
            for program in (self.auth, *self.gateways):
                program.start()
            await self.auth.ready()
            async with self.operator() as service:
                for user in self.users:
                    await service.accounts.add(user, PASSWORD)
                await service.registration.add(
                    CLIENT, grants=("password", "refresh_token"), scope="connect"
                )
            for gateway in self.gateways:
                await gateway.ready()
            self.front.start()
            await self._front_answers()
            yield self
        finally:
            await self._stop()

    async def _stop(self) -> None:
        everything = [self.front, *self.gateways, self.auth]
        for program in everything:
            program.send(signal.SIGCONT)
            program.send(signal.SIGTERM)
        for program in everything:
            if program.process is not None:
                try:
                    await program.gone()
                except TimeoutError:
                    program.send(signal.SIGKILL)
                    await program.gone()
        for link in (*self.links, self.rough):
            await link.close()
        with contextlib.suppress(AssertionError):
            self.redis.kill()

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[Service]:
        """Give out what an operator's orders use; it publishes nothing to Redis."""
        environment = {
            name: value for name, value in self.auth_environment.items() if name != "AUTH_REDIS_URL"
        }
        async with open_service(Settings.from_environment(environment)) as service:
            yield service

    async def _front_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.plain)
                writer.transport.abort()
                return
            if time.monotonic() > deadline:
                raise TimeoutError(self.front.log.read_text("utf-8", "replace"))
            await asyncio.sleep(_POLL_SECONDS)


def _naming(configuration: str, names: Mapping[int, str]) -> str:
    """Have nginx say in each handshake's answer which gateway it chose; the last that it tried."""
    lines = "".join(f'"~127\\.0\\.0\\.1:{port}$" {name}; ' for port, name in names.items())
    before, rest = configuration.split("    add_header ", 1)
    return (
        f"{before}    map $upstream_addr $chaos_gateway {{ {lines}}}\n"
        f"    add_header {GATEWAY} $chaos_gateway always;\n"
        f"    add_header {rest}"
    )


def _previous(command: tuple[str, ...]) -> tuple[str, ...]:
    """Run another tree's package: ours would come first where modules are looked for by name."""
    python, _, _, *arguments = command
    return python, "-P", str(Path(hurried.__file__)), *arguments
