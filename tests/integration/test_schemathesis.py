"""Schemathesis against the running token service: OpenAPI tells the truth, and nothing breaks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from auth_service.app import Service, create_internal_app, open_service
from auth_service.clients import hash_secret
from auth_service.settings import Settings
from auth_service.store import revocations
from auth_service.store.revocations import Revocation
from tests.integration.embedded import START_SECONDS, free_ports

pytestmark = pytest.mark.integration

PASSWORD = "correct horse battery staple"
SECRET = "s" * 43
KEY = "k" * 43
# A 503 is documented, but nothing here is overloaded, so it is a failure as any other 5xx.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
RUN_SECONDS = 100
ENTRIES = 50


class Running:
    """The service as a process, with a user, a client with a secret, and no limit of log-ins.

    Args:
        directory: For its files.
    """

    def __init__(self, directory: Path) -> None:
        public, internal = free_ports(2)
        self.url, self.internal = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{internal}"
        self.internal_openapi = directory / "internal.json"
        self._environment = {
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{directory}/auth.db",
            "AUTH_KEYS_DIR": f"{directory}/keys",
            "AUTH_BIND": f"127.0.0.1:{public}",
            "AUTH_INTERNAL_BIND": f"127.0.0.1:{internal}",
            "AUTH_ISSUER": self.url,
            "AUTH_DEFAULT_CLIENT": "chat",
            "AUTH_HASH_THREADS": "1",
            "AUTH_REVOCATIONS_KEY": KEY,
            "AUTH_LIMIT_LOGINS": "0",
            "AUTH_LIMIT_ADDRESS": "0",
            "AUTH_LIMIT_CLIENT": "0",
        }
        self._log = directory / "log"

    async def populate(self) -> None:
        """Add what the tests log in with."""
        async with open_service(Settings.from_environment(self._environment)) as service:
            await self._add(service)
            document = create_internal_app(service).openapi()
        self.internal_openapi.write_text(json.dumps(document), "utf-8")

    async def _add(self, service: Service) -> None:
        await service.accounts.add("alice", PASSWORD)
        await service.registration.add(
            "shop",
            grants=["client_credentials"],
            scope="introspect api",
            secret_hash=hash_secret(SECRET),
        )
        # Whoever reads from the beginning has not to wait for news.
        async with service.database.write() as connection:
            for number in range(ENTRIES):
                entry = Revocation(kind="jti", value=str(number), until=2**40, reason="logout")
                await revocations.append(connection, entry, now=0)

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "auth_service", "serve"],
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it; nothing that came was unexpected."""
        self._process.terminate()
        assert self._process.wait(START_SECONDS) == 0
        log = self._log.read_text()
        assert "request_failed" not in log
        assert "Traceback" not in log

    def answers(self, route: str, code: int) -> float:
        """Count the answers of a route so far."""
        text = httpx2.get(f"{self.internal}/metrics", trust_env=False).text
        series = [
            line
            for line in text.splitlines()
            if line.startswith("auth_http_requests_total{")
            and f'code="{code}"' in line
            and f'route="{route}"' in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in series)

    def access_token(self) -> str:
        """Log in."""
        form = {"grant_type": "password", "username": "alice", "password": PASSWORD}
        answer = httpx2.post(f"{self.url}/token", data=form, trust_env=False)
        return str(answer.json()["access_token"])

    def _ready(self) -> bool:
        try:
            answer: Any = httpx2.get(f"{self.internal}/health/ready", trust_env=False)
        except httpx2.TransportError:
            return False
        return bool(answer.status_code == httpx2.codes.OK)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all."""
    service = Running(tmp_path_factory.mktemp("schemathesis"))
    asyncio.run(service.populate())
    yield service.start()
    service.stop()


def run(location: str, *arguments: str, examples: int) -> None:
    """Run it: what is documented, then what is not, then whatever comes to its mind."""
    done = subprocess.run(  # noqa: S603 - our own words only
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", location),
            *("--checks", ",".join(CHECKS), "--continue-on-failure", "--no-shrink"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
            *("--seed", "1", "--generation-database", "none", "--warnings", "off"),
            *arguments,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_finds_what_is_not_documented(running: Running) -> None:
    """Every route of the public listener, without credentials."""
    run(f"{running.url}/openapi.json", examples=3)

    assert running.answers("/users/me", 401) > 0
    assert running.answers("/token", 400) > 0


def test_nor_does_a_user(running: Running) -> None:
    """The routes that take an access token, with a good one.

    It finds the id of its own session in an answer, and ends it: hence that route apart, and last.
    """
    header = f"Authorization: Bearer {running.access_token()}"

    for paths in ("^/(users/.*|sessions|introspect)$", "^/sessions/"):
        run(f"{running.url}/openapi.json", "-H", header, "--include-path-regex", paths, examples=5)

    assert running.answers("/sessions", 200) > 0
    assert running.answers("/sessions/{sid}", 404) > 0


def test_nor_does_a_client(running: Running) -> None:
    """The routes that take a client's secret, with the right one."""
    secret = ("-a", f"shop:{SECRET}")
    paths = "^/(token|revoke|introspect|device_authorization)$"

    run(f"{running.url}/openapi.json", *secret, "--include-path-regex", paths, examples=10)

    assert running.answers("/introspect", 200) + running.answers("/revoke", 200) > 0


def test_the_internal_listener_is_as_documented(running: Running) -> None:
    """Probes, metrics and the revocation log, for whoever has its key."""
    header = f"Authorization: Bearer {KEY}"

    run(str(running.internal_openapi), "-u", running.internal, "-H", header, examples=5)
