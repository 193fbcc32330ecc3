"""The token service and a gateway as processes of their own, and the doors that take a token."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2

from auth_service.app import open_service
from auth_service.clients import hash_secret
from auth_service.settings import Settings
from tests.attacks.forge import Forge
from tests.integration.embedded import START_SECONDS, STOP_SECONDS, free_ports

PASSWORD = "a long enough password"
SECRET = "a secret of 256 bits, as it were: %+&="
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
REDIRECT_URIS = ("https://app.example/cb", "http://127.0.0.1/cb")
SECRET_WORDS = (PASSWORD, SECRET)


class Process:
    """One program of ours.

    Args:
        directory: Where its output goes.
        module: What Python runs.
        arguments: What follows.
        environment: Its settings.
        internal: The port that says when it has started.
        runner: A module that runs ``module``; it runs itself unless given.
    """

    def __init__(
        self,
        directory: Path,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        internal: int,
        runner: str | None = None,
    ) -> None:
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AUTH_", "GATEWAY_", "DRAWBRIDGE_", "PROMETHEUS_"))
        } | dict(environment)
        self.output = directory / f"{module}.log"
        self.internal = httpx2.Client(
            base_url=f"http://127.0.0.1:{internal}",
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
            timeout=START_SECONDS,
        )
        run = (module,) if runner is None else (runner, module)
        self._command = [sys.executable, "-m", *run, *arguments]

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own words only
                self._command, env=self.environment, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End it as an orchestrator does, and see that it ends well and has not choked."""
        self.internal.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
        assert status == 0, self.log
        assert "Traceback" not in self.log
        assert not [word for word in SECRET_WORDS if word in self.log]

    @property
    def log(self) -> str:
        """What it has said."""
        return self.output.read_text("utf-8", "replace")

    def metrics(self, name: str) -> float:
        """Add up all series of a metric whose line begins with ``name``."""
        lines = [line for line in self.scrape() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def scrape(self) -> list[str]:
        """Return the lines of its metrics."""
        return self.internal.get("/metrics").text.splitlines()

    def _ready(self) -> bool:
        try:
            answer = self.internal.get("/health/ready")
        except httpx2.TransportError:
            return False
        return answer.status_code == httpx2.codes.OK


class Services:
    """Both services on one database.

    Args:
        directory: For all files.
        database_url: Of the token service; the tables are made.
        settings: More ``AUTH_*`` and ``GATEWAY_*``.
        auth_arguments: Of ``serve``.
        runner: See `Process`.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        settings: Mapping[str, str] | None = None,
        *,
        auth_arguments: Sequence[str] = (),
        runner: str | None = None,
    ) -> None:
        public, internal, self.gateway_port, gateway_internal = free_ports(4)
        self.url = f"http://127.0.0.1:{public}"
        self.forge = Forge(directory / "keys", self.url)
        issuer = {
            "issuer": self.url,
            "jwks_url": f"{self.url}/.well-known/jwks.json",
            "audience": "drawbridge",
        }
        given = dict(settings or {})
        self.auth = Process(
            directory,
            "auth_service",
            "serve",
            *auth_arguments,
            environment={
                "AUTH_BIND": f"127.0.0.1:{public}",
                "AUTH_INTERNAL_BIND": f"127.0.0.1:{internal}",
                "AUTH_ISSUER": self.url,
                "AUTH_DATABASE_URL": database_url,
                "AUTH_KEYS_DIR": str(directory / "keys"),
                "AUTH_DEFAULT_CLIENT": "chat",
                **{name: value for name, value in given.items() if not name.startswith("GATEWAY_")},
            },
            internal=internal,
            runner=runner,
        )
        self.gateway = Process(
            directory,
            "ws_gateway",
            environment={
                "GATEWAY_BIND": f"127.0.0.1:{self.gateway_port}",
                "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{gateway_internal}",
                "GATEWAY_ISSUERS": json.dumps([issuer]),
                "GATEWAY_DRAIN_SECONDS": "0",
                **{name: value for name, value in given.items() if name.startswith("GATEWAY_")},
            },
            internal=gateway_internal,
            runner=runner,
        )

    def start(self) -> Self:
        """Start the token service, then the gateway."""
        self.auth.start()
        self.http = httpx2.Client(base_url=self.url, trust_env=False, timeout=START_SECONDS)
        for key in self.http.get("/.well-known/jwks.json").json()["keys"]:
            self.forge.kids[key["alg"]] = key["kid"]
        self.gateway.start()
        return self

    def stop(self) -> None:
        """End both."""
        self.gateway.stop()
        self.http.close()
        self.auth.stop()

    def populate(self) -> None:
        """Register the users and clients that the tests know."""
        asyncio.run(self._populate())

    async def _populate(self) -> None:
        async with open_service(Settings.from_environment(self.auth.environment)) as service:
            for name in ("alice", "bob"):
                await service.accounts.add(name, PASSWORD)
            add = service.registration.add
            code = ("authorization_code", "refresh_token")
            await add("spa", grants=code, scope="connect", redirect_uris=REDIRECT_URIS)
            await add(
                "other",
                grants=("password", *code),
                scope="connect",
                redirect_uris=("https://other.example/cb",),
            )
            await add("device", grants=(DEVICE, "refresh_token"), scope="connect")
            await add("app", grants=("password", "refresh_token"), scope="connect")
            secret = hash_secret(SECRET)
            await add(
                "bot",
                secret_hash=secret,
                grants=("client_credentials", "password", "refresh_token"),
                scope="connect api introspect",
            )
            await add(
                "reader", secret_hash=secret, grants=("client_credentials",), scope="introspect"
            )
            await add(
                "signer",
                jwks=self.forge.client_jwks(),
                grants=("client_credentials",),
                scope="api",
            )

    # What a client asks

    def token(self, **form: str | None) -> httpx2.Response:
        """Ask for a token with the password grant, unless the form says otherwise."""
        fields: dict[str, str | None] = {
            "grant_type": "password",
            "client_id": "app",
            "username": "alice",
            "password": PASSWORD,
            **form,
        }
        data = {name: value for name, value in fields.items() if value is not None}
        return self.http.post("/token", data=data)

    def refresh(self, refresh_token: str, **form: str) -> httpx2.Response:
        """Ask for a token with a refresh token."""
        data = {
            "grant_type": "refresh_token",
            "client_id": "app",
            "refresh_token": refresh_token,
            **form,
        }
        return self.http.post("/token", data=data)

    def introspect(self, token: str) -> Any:  # noqa: ANN401 - JSON
        """Say what the service says of a token."""
        answer = self.http.post(
            "/introspect", data={"token": token}, auth=("bot", quote(SECRET, safe=""))
        )
        assert answer.status_code == httpx2.codes.OK, answer.text
        return answer.json()

    def me(self, access_token: str) -> httpx2.Response:
        """Ask who the bearer is."""
        return self.http.get("/users/me", headers={"Authorization": f"Bearer {access_token}"})

    def order(self, *arguments: str, given: str = "") -> str:
        """Run one of the operator's commands; returns what it prints."""
        done = subprocess.run(  # noqa: S603 - our own words only
            [sys.executable, "-m", "auth_service", *arguments],
            env=self.auth.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # The doors

    def handshake(self, *lines: bytes, address: str = "127.0.0.1") -> bytes:
        """Ask for an upgrade with these header lines; returns the head of the answer."""
        head = [
            b"GET /connection/websocket HTTP/1.1",
            b"Host: gateway",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyA6KQ==",
            *lines,
        ]
        return exchange(self.gateway_port, b"\r\n".join(head) + b"\r\n\r\n", address)


def exchange(port: int, request: bytes, address: str = "127.0.0.1") -> bytes:
    """Send bytes to a port of loopback, from an address of it; returns the answer's head."""
    target, source = ("127.0.0.1", port), (address, 0)
    with socket.create_connection(target, timeout=10, source_address=source) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(65_536)
            if not part:
                break
            answer += part
    return answer.partition(b"\r\n\r\n")[0]
