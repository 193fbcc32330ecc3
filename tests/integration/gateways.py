"""Gateways as processes of their own over one Redis, and an issuer whose tokens they accept."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jwt
from typing_extensions import override
from websockets.asyncio.client import connect

from tests.integration.embedded import START_SECONDS, STOP_SECONDS, free_ports

CHANNELS = """
[client]
personal_channel_namespace = "dm"

[namespaces.dm]
allow_publish_for_client = true

[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true

[namespaces.kept]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
history_size = 1000
history_ttl = "300s"
force_recovery = true

[namespaces.hall]
allow_subscribe_for_client = true
presence = true
allow_presence_for_client = true
join_leave = true
force_push_join_leave = true
"""


class Issuer:
    """An authorization server, as far as a gateway knows one: a key set over HTTP."""

    def __init__(self) -> None:
        self._key: Any = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
        keys = json.dumps({"keys": [self._key.public_key().to_dict() | {"kid": "k"}]}).encode()

        class Handler(BaseHTTPRequestHandler):
            """Answers everything with the keys."""

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(keys)))
                self.end_headers()
                self.wfile.write(keys)

            @override
            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, user: str, **more: object) -> str:
        """Sign a token for a user, with more claims."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": ["drawbridge"],
            "iat": now,
            "exp": now + 600,
            "jti": secrets.token_urlsafe(8),
            "sub": user,
            "client_id": "chat",
            "scope": "connect",
            **more,
        }
        return jwt.encode(
            claims, self._key, algorithm="ES256", headers={"typ": "at+jwt", "kid": "k"}
        )

    @property
    def setting(self) -> str:
        """``GATEWAY_ISSUERS`` for this one."""
        entry = {"issuer": self.url, "jwks_url": self.url, "audience": "drawbridge"}
        return json.dumps([entry])


class Gateway:
    """One ``python -m ws_gateway`` on ports of its own."""

    def __init__(self, directory: Path, issuer: Issuer, settings: Mapping[str, str]) -> None:
        public, internal = free_ports(2)
        channels = directory / "channels.toml"
        channels.write_text(CHANNELS)
        self.url = f"ws://127.0.0.1:{public}/connection/websocket"
        self.public_url = f"http://127.0.0.1:{public}"
        self.api_url = f"http://127.0.0.1:{internal}/api"
        self._issuer = issuer
        self._stderr = directory / "stderr"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")
        } | {
            "GATEWAY_BIND": f"127.0.0.1:{public}",
            "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
            "GATEWAY_ISSUERS": issuer.setting,
            "GATEWAY_CHANNELS_FILE": str(channels),
            "GATEWAY_DRAIN_SECONDS": "0",
            **settings,
        }
        self._probe = httpx2.Client(
            base_url=f"http://127.0.0.1:{internal}",
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
        )

    def start(self) -> Self:
        """Start the process, and wait until its internal port answers."""
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ws_gateway"],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._started():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as an orchestrator does, and see that it ends well, unless it was killed."""
        self._probe.close()
        if self._process.poll() == -signal.SIGKILL:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
        assert status == 0, self.log
        assert "Traceback" not in self.log

    @property
    def log(self) -> str:
        """What it has said."""
        return self._stderr.read_text()

    def _started(self) -> bool:
        try:
            return bool(self._probe.get("/health/started").status_code == httpx2.codes.OK)
        except httpx2.TransportError:
            return False

    def readiness(self) -> tuple[int, dict[str, bool]]:
        """Ask whether new connections may come, and why not."""
        answer = self._probe.get("/health/ready")
        return answer.status_code, answer.json()["conditions"]

    async def ready(self, *, wanted: bool = True, seconds: float = 10) -> None:
        """Wait until it is ready, or is not any more."""
        async with asyncio.timeout(seconds):
            while (self.readiness()[0] == httpx2.codes.OK) is not wanted:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)

    def metric(self, name: str) -> float:
        """Read a metric without labels."""
        for line in self._probe.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise LookupError(name)

    def token(self, user: str) -> str:
        """Sign a token that it accepts."""
        return self._issuer.token(user)

    def client(self, user: str) -> connect:
        """Open a WebSocket for a user."""
        return self.client_with(self.token(user))

    def client_with(self, token: str) -> connect:
        """Open a WebSocket with a token."""
        bearer = {"Authorization": f"Bearer {token}"}
        return connect(self.url, additional_headers=bearer, proxy=None)
