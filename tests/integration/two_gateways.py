"""The token service, Redis and two gateways as processes of their own, which trust each other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from websockets.asyncio.client import connect

from auth_service.app import Service, open_service
from auth_service.settings import Settings
from auth_service.workers import METRICS_VARIABLE
from tests.attacks.conftest import WITHOUT_LIMITS
from tests.attacks.running import Process, Services
from tests.integration.embedded import free_ports
from tests.redis_server import RedisServer

CHANNELS = """
[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_client = true
"""


class World:
    """Redis, the token service and two gateways.

    Args:
        directory: For all files.
        database_url: Of the token service.
        workers: Of the token service.
        settings: More ``AUTH_*`` and ``GATEWAY_*``.
        runner: A module that runs the programs; they run themselves unless given.

    Attributes:
        redis: Between them; what it has is gone when it ends.
        services: The token service and the first gateway.
        second: The second gateway.
        ports: Where the gateways take sockets.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        runner: str | None = None,
    ) -> None:
        self.redis = RedisServer(directory)
        own: dict[str, str] = {}
        if workers > 1:
            metrics = directory / "metrics"
            metrics.mkdir()
            own[METRICS_VARIABLE] = str(metrics)
        self.services = Services(
            directory,
            database_url,
            {**WITHOUT_LIMITS, **own, **(settings or {})},
            auth_arguments=("--workers", str(workers)),
            runner=runner,
        )
        channels = directory / "channels.toml"
        channels.write_text(CHANNELS)
        self.services.auth.environment["AUTH_REDIS_URL"] = self.redis.url
        self.services.auth.environment["AUTH_ACCESS_TOKEN_SECONDS"] = "3600"
        environment = self.services.gateway.environment
        (issuer,) = json.loads(environment["GATEWAY_ISSUERS"])
        environment |= {
            "GATEWAY_ISSUERS": json.dumps([issuer | {"revocations": "redis"}]),
            "GATEWAY_REDIS_URL": self.redis.url,
            "GATEWAY_CHANNELS_FILE": str(channels),
            "GATEWAY_MAX_UNAUTHENTICATED_PER_ADDRESS": "10000",
        }
        port, internal = free_ports(2)
        second = directory / "second"
        second.mkdir()
        self.second = Process(
            second,
            "ws_gateway",
            environment=environment
            | {
                "GATEWAY_BIND": f"127.0.0.1:{port}",
                "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
            },
            internal=internal,
            runner=runner,
        )
        self.ports = (self.services.gateway_port, port)

    @contextmanager
    def running(self) -> Iterator[World]:
        """Start everything, and stop it at the end."""
        self.redis.start()
        try:
            self.services.start()
            self.services.populate()
            self.second.start()
            yield self
            self.second.stop()
            self.services.stop()
        finally:
            for one in (self.second, self.services.gateway, self.services.auth):
                process = getattr(one, "process", None)
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
            self.redis.kill()

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        """Give out what the operator's orders use: the same database, in another process."""
        settings = Settings.from_environment(
            {
                name: value
                for name, value in self.services.auth.environment.items()
                if name != "AUTH_REDIS_URL"
            }
        )
        async with open_service(settings) as service:
            yield service


def door(port: int, token: str) -> connect:
    """Open a socket at a gateway."""
    return connect(
        f"ws://127.0.0.1:{port}/connection/websocket",
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
        ping_interval=None,
        proxy=None,
    )
