"""The embedded server as a process of its own, and what tests ask of it from outside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx2
from centrifuge import Client, ClientEventHandler
from jose import jws
from websockets.asyncio.client import ClientConnection, connect

from auth_service.rotation import sealed_as
from auth_service.sealing import load_secret_keys
from infra.embedded import loopback
from tests.free_ports import free_ports as free_ports  # noqa: PLC0414 - many have it from here

START_SECONDS = 90
STOP_SECONDS = 45


def encode_segment(content: bytes) -> str:
    """Write bytes as a part of a token (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Embedded:
    """One running ``python -m infra.embedded`` on ports of its own.

    Args:
        directory: Where it keeps its files; stdout and stderr go there as well.
        settings: Further environment variables.
        ports: Of the front, the auth service (public, internal) and the gateway; free ones unless
            given.
    """

    def __init__(
        self, directory: Path, settings: Mapping[str, str] = {}, *, ports: list[int] | None = None
    ) -> None:
        self.directory = directory
        self.ports = ports or free_ports(4)
        self.front, auth, auth_internal, self.internal = self.ports
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AUTH_", "GATEWAY_", "DRAWBRIDGE_"))
        } | {
            "DRAWBRIDGE_LOCAL": str(directory / "local"),
            "DRAWBRIDGE_FRONT": self._front(),
            "AUTH_BIND": f"127.0.0.1:{auth}",
            "AUTH_INTERNAL_BIND": f"127.0.0.1:{auth_internal}",
            "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{self.internal}",
            **settings,
        }
        self.secrets: set[str] = set()
        self.url = f"https://localhost:{self.front}"
        self.websocket_url = f"wss://localhost:{self.front}/connection/websocket"
        self.local = directory / "local"
        self.stdout = directory / "stdout"
        self.stderr = directory / "stderr"
        # Plain HTTP; a context made once, because loading the default authorities takes longer
        # than any request.
        self.probe = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.internal}",
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
        )

    def start(self) -> Self:
        """Start it and wait until new connections may come."""
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.embedded"],
                env=self.environment,
                stdout=stdout,
                stderr=stderr,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, self.stderr.read_text()
            assert time.monotonic() < deadline, self.stderr.read_text()
            time.sleep(0.02)
        self.context = ssl.create_default_context(cafile=self.local / "ca.pem")
        self.context.verify_flags |= ssl.VERIFY_X509_STRICT
        self.http = httpx2.Client(base_url=self.url, verify=self.context, trust_env=False)
        return self

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it as Ctrl-C does, and see that it ends well."""
        self.http.close()
        self.probe.close()
        self.process.send_signal(number)
        try:
            status = self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
        assert status == 0
        said = self.stdout.read_text() + self.stderr.read_text()
        assert "Traceback" not in said
        assert not [secret for secret in self.secrets if secret in said]

    def _front(self) -> str:
        addresses = [f"127.0.0.1:{self.front}"]
        if loopback.has_ipv6():
            addresses.append(f"[::1]:{self.front}")
        return ",".join(addresses)

    def _ready(self) -> bool:
        try:
            answer = self.probe.get("/health/ready")
        except httpx2.TransportError:
            return False
        return answer.status_code == httpx2.codes.OK

    # What it knows

    @property
    def passwords(self) -> dict[str, str]:
        """The demo users' passwords."""
        lines = (self.local / "demo-users.txt").read_text().splitlines()
        passwords = dict(line.split(":", 1) for line in lines)
        self.secrets.update(passwords.values())
        return passwords

    def token(self, user: str = "alice") -> str:
        """Log in."""
        form = {"grant_type": "password", "username": user, "password": self.passwords[user]}
        answer = self.http.post("/token", data=form)
        assert answer.status_code == httpx2.codes.OK, answer.text
        return self._remember(answer.json()["access_token"])

    def subject(self, user: str) -> str:
        """Return a user's ``sub``."""
        bearer = {"Authorization": f"Bearer {self.token(user)}"}
        return str(self.http.get("/users/me", headers=bearer).json()["sub"])

    def sign(
        self,
        *,
        lifetime: float = 600,
        header: Mapping[str, object] = {},
        **claims: object,
    ) -> str:
        """Sign a token with the service's own key; a negative lifetime makes it an old one."""
        now = int(time.time())
        content = {
            "iss": self.url,
            "aud": ["drawbridge"],
            "iat": now - (0 if lifetime > 0 else 700),
            "exp": now + round(lifetime),
            "jti": secrets.token_urlsafe(8),
            "sid": "session",
            "sub": "signed-by-the-test",
            "client_id": "chat",
            "scope": "connect",
            "info": {"name": "test"},
        } | claims
        key = self._signing_key()
        fields = {"typ": "at+jwt", "kid": self.kid} | dict(header)
        return self._remember(
            jws.sign(json.dumps(content).encode(), key, headers=fields, algorithm="ES256")
        )

    def _signing_key(self) -> str:
        """Unseal the key that the server signs with."""
        with contextlib.closing(sqlite3.connect(self.local / "auth.db")) as database:
            query = "SELECT kid, sealed FROM signing_keys WHERE kid = ?"
            kid, sealed = database.execute(query, [self.kid]).fetchone()
        return load_secret_keys("", self.local / "keys").open(sealed, sealed_as(kid)).decode()

    def _remember(self, token: str) -> str:
        """Note the parts of a token that nobody may find in what the server says."""
        self.secrets.update(token.split(".")[1:])
        return token

    @property
    def kid(self) -> str:
        """The id of the one published key."""
        return str(self.jwk["kid"])

    @property
    def jwk(self) -> dict[str, str]:
        """The one published key."""
        (key,) = self.http.get("/.well-known/jwks.json").json()["keys"]
        return dict(key)

    def metric(self, name: str) -> float:
        """Read a gauge of the gateway."""
        for line in self.probe.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise LookupError(name)

    @contextlib.contextmanager
    def logged(self) -> Iterator[list[dict[str, Any]]]:
        """Collect what is logged inside of the block; complete when the block has ended."""
        lines: list[dict[str, Any]] = []
        begin = self.stderr.stat().st_size
        yield lines
        lines += [json.loads(line) for line in self.stderr.read_bytes()[begin:].splitlines()]

    async def nothing_left(self) -> None:
        """Wait until no connection and no subscription is left of a test."""
        async with asyncio.timeout(5):
            for name in ("gateway_connections", "gateway_subscriptions_active"):
                while await asyncio.to_thread(self.metric, name):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    # Clients

    def bare(self, token: str | None = None, **options: Any) -> connect:  # noqa: ANN401
        """Open a WebSocket, with the token in the header if there is one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options.setdefault("additional_headers", headers)
        options.setdefault("max_size", None)
        return connect(self.websocket_url, ssl=self.context, proxy=None, **options)

    @contextlib.asynccontextmanager
    async def sdk(
        self,
        events: ClientEventHandler | None = None,
        **options: Any,  # noqa: ANN401
    ) -> AsyncIterator[Client]:
        """Connect the official SDK."""
        client = Client(self.websocket_url, events, ssl_context=self.context, proxy=None, **options)
        await client.connect()
        await client.ready()
        try:
            yield client
        finally:
            await client.disconnect()


async def ask(connection: ClientConnection, **command: Any) -> Any:  # noqa: ANN401
    """Send one command and return the next message that is no ping."""
    await connection.send(json.dumps(command))
    return await tell(connection)


async def tell(connection: ClientConnection) -> Any:  # noqa: ANN401
    """Return the next message that is no ping."""
    async with asyncio.timeout(10):
        while True:
            message = json.loads(await connection.recv())
            if message:
                return message


async def close_code(connection: ClientConnection) -> int | None:
    """Wait until the server has closed the connection."""
    async with asyncio.timeout(10):
        await connection.wait_closed()
    return connection.close_code
