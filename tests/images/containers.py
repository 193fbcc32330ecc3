"""The whole of Drawbridge in containers, on this machine's network, as the manifests run it.

Redis and PostgreSQL are Debian's, with the configuration, users and roles of ``k8s/``.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx2

from infra.images import build, engine
from infra.manifests.front import PLACE
from infra.stack import nginx, postgresql, programs
from tests.integration.embedded import free_ports
from tests.postgres_server import PostgresServer

SECONDS = 60
BASE = Path("k8s/base")
DEV = Path("k8s/overlays/dev")
# As the dev overlay has them.
_REDIS = "redis://drawbridge-{service}:dev-only-{service}@127.0.0.1:{port}/0"
_SERVICE_PASSWORD = "dev-only-database"
_METRICS_PASSWORD = "dev-only-database_metrics"
_SEALING_KEY = "dev-only-sealing-key-of-everybody-000000000"


def variables(service: str) -> dict[str, str]:
    """Read a service's variables of ``k8s/base``."""
    lines = (BASE / f"{service}.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Container:
    """One container, which ends with the test.

    Args:
        command: That runs it in the foreground.
        name: Of the container.
        log: File of what it says.
    """

    def __init__(self, command: Sequence[str], name: str, log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own words only
                command, stdout=output, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        """Read what it has said."""
        return self._log.read_text()


class Containers:
    """Everything; nothing runs before ``start``.

    Args:
        directory: Of all files.
    """

    def __init__(self, directory: Path) -> None:
        self.engine = engine.find()
        self.names = build.names(os.environ)
        self.directory = directory
        self.running: dict[str, Container] = {}
        self._prefix = f"drawbridge-test-{os.getpid()}"
        self._stack = contextlib.ExitStack()
        self._canary, *ports = free_ports(10)
        self.tls, self.status, self.redis, self.auth, self.auth_internal, *rest = ports
        self.gateways = list(zip(rest[:2], rest[2:], strict=True))
        self.url = f"https://localhost:{self.tls}"

    # --- life ---

    def start(self) -> Self:
        """Start everything, and wait until it works."""
        self._start_redis()
        self._prepare_database()
        self._certificate()
        self._nginx_configuration()
        owner, service = self._auth_options("owner"), self._auth_options("service")
        self.before = self.try_once("auth-service", *service, command=["migrate", "--check"])
        self.once("auth-service", *owner, command=["migrate"])
        self.after = self.try_once("auth-service", *service, command=["migrate", "--check"])
        self.serve("auth-service", "auth-service", *service)
        for number, (public, internal) in enumerate(self.gateways, start=1):
            options = self._gateway_options(public, internal)
            self.serve(f"ws-gateway-{number}", "ws-gateway", *options)
        self.await_(lambda: all(map(self.ready, [self.auth_internal, *self._internal])))
        self.serve(
            *("nginx", "nginx"),
            *("--volume", f"{self.directory}/nginx:/etc/drawbridge/nginx:ro"),
            *("--volume", f"{self.directory}/certificate:/run/secrets/certificate:ro"),
            *("--tmpfs", "/run/nginx:mode=1777"),
        )
        self.await_(lambda: self.ready(self.status, "/health"))
        context = ssl.create_default_context(cafile=self.directory / "certificate/tls.crt")
        self.context = context
        self.http = self._stack.enter_context(
            httpx2.Client(base_url=self.url, verify=context, trust_env=False)
        )
        return self

    def stop(self) -> None:
        """End whatever runs."""
        for container in self.running.values():
            self._podman("stop", "--time", "5", container.name)
            container.process.wait(SECONDS)
        self._stack.close()

    def await_(self, condition: Callable[[], object]) -> None:
        """Wait, but not for ever; a container that has ended says why."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            for container in self.running.values():
                assert container.process.poll() is None, container.said()
            assert time.monotonic() < deadline, [one.said() for one in self.running.values()]
            time.sleep(0.05)

    @staticmethod
    def ready(port: int, path: str = "/health/ready") -> bool:
        """Ask whether clients may come."""
        try:
            url = f"http://127.0.0.1:{port}{path}"
            return httpx2.get(url, trust_env=False).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def connections(self) -> list[float]:
        """Count the sockets of each gateway."""
        counts = []
        for port in self._internal:
            text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            lines = [line for line in text.splitlines() if line.startswith("gateway_connections ")]
            counts.append(float(lines[0].split()[1]))
        return counts

    # --- containers ---

    def once(self, target: str, *options: str, command: Sequence[str] = ()) -> str:
        """Run a container to its end; returns what it said."""
        done = self.try_once(target, *options, command=command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_once(
        self, target: str, *options: str, command: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a container to its end, whichever that is."""
        words = self.engine.run(
            self.names.image(target), "--network", "host", *options, command=command
        )
        return subprocess.run(  # noqa: S603 - our own words only
            words, capture_output=True, text=True, check=False, timeout=SECONDS
        )

    def serve(self, name: str, target: str, *options: str) -> None:
        """Run a container until the end of the test."""
        full = f"{self._prefix}-{name}"
        words = self.engine.run(
            self.names.image(target), "--network", "host", "--name", full, *options
        )
        self.running[name] = Container(words, full, self.directory / f"{name}.log")

    def serve_canary(self, password: str) -> int:
        """Run the canary as a user with this password; returns the port of its numbers."""
        directory = self.directory / "secrets/canary"
        directory.mkdir(parents=True)
        (directory / "password").write_text(f"{password}\n")
        authority = self.directory / "certificate/tls.crt"
        given = {
            "CANARY_URL": self.url,
            "CANARY_CLIENT_ID": "chat",
            "CANARY_CHANNEL": "room:canary",
            "CANARY_INTERVAL_SECONDS": "0.2",
            "CANARY_PASSWORD_FILE": "/run/secrets/canary/password",
            "CANARY_CA_FILE": "/run/secrets/front/ca.crt",
            "CANARY_BIND": f"127.0.0.1:{self._canary}",
        }
        options = ["--volume", f"{directory}:/run/secrets/canary:ro"]
        options += ["--volume", f"{authority}:/run/secrets/front/ca.crt:ro"]
        for variable, value in given.items():
            options += ["--env", f"{variable}={value}"]
        self.serve("canary", "canary", *options)
        return self._canary

    def execute(self, name: str, *command: str) -> str:
        """Run a command in a running container, as ``kubectl exec`` does."""
        done = self._podman("exec", self.running[name].name, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def order_to_stop(self, name: str) -> Container:
        """Send a container the signal that Kubernetes sends."""
        container = self.running.pop(name)
        self._podman("kill", "--signal", "TERM", container.name)
        return container

    def _podman(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own words only
            [*self.engine.running, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    @property
    def _internal(self) -> list[int]:
        return [internal for _, internal in self.gateways]

    # --- what they are given ---

    def _options(
        self, name: str, given: Mapping[str, str], secrets: Mapping[str, str]
    ) -> list[str]:
        directory = self.directory / "secrets" / name
        directory.mkdir(parents=True)
        for key, text in secrets.items():
            (directory / key).write_text(f"{text}\n")
        options = ["--volume", f"{directory}:/run/secrets/drawbridge:ro"]
        options += ["--tmpfs", "/tmp"]  # noqa: S108 - the container's own
        for variable, value in given.items():
            options += ["--env", f"{variable}={value}"]
        return options

    def _auth_options(self, role: str) -> list[str]:
        secrets = {
            "redis-url": _REDIS.format(service="auth", port=self.redis),
            "database-url": self._database[role],
            "sealing-keys": _SEALING_KEY,
        }
        given = variables("auth-service") | {
            "AUTH_BIND": f"127.0.0.1:{self.auth}",
            "AUTH_INTERNAL_BIND": f"127.0.0.1:{self.auth_internal}",
            "AUTH_ENVIRONMENT": "development",
            "AUTH_DEFAULT_CLIENT": "chat",
            "AUTH_ISSUER": self.url,
            "AUTH_TRUSTED_PROXIES": "127.0.0.1",
        }
        return [
            *self._options(f"auth-{role}", given, secrets),
            *("--tmpfs", "/run/metrics:mode=1777"),
        ]

    def _gateway_options(self, public: int, internal: int) -> list[str]:
        issuer = {
            "issuer": self.url,
            "jwks_url": f"http://127.0.0.1:{self.auth}/.well-known/jwks.json",
            "audience": "drawbridge",
            "revocations": "redis",
        }
        given = variables("ws-gateway") | {
            "GATEWAY_BIND": f"127.0.0.1:{public}",
            "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
            "GATEWAY_ISSUERS": json.dumps([issuer]),
            "GATEWAY_ORIGINS": self.url,
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
            "GATEWAY_DRAIN_SECONDS": "1",
        }
        channels = Path("infra/demo/channels.toml").absolute()
        secrets = {"redis-url": _REDIS.format(service="gateway", port=self.redis)}
        return [
            *self._options(f"gateway-{public}", given, secrets),
            *("--volume", f"{channels}:/etc/drawbridge/channels/channels.toml:ro"),
        ]

    def _start_redis(self) -> None:
        """Start Redis with the cluster's configuration and the dev overlay's users."""
        data = self.directory / "redis"
        data.mkdir()
        process = subprocess.Popen(  # noqa: S603 - our own words only
            [
                *(programs.find("redis-server"), str(BASE / "redis/redis.conf")),
                *("--bind", "127.0.0.1", "--port", str(self.redis), "--dir", str(data)),
                *("--aclfile", str((DEV / "users.acl").absolute())),
            ],
            stdout=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait, SECONDS)
        self._stack.callback(process.terminate)
        self.await_(lambda: self.redis_cli("ping") == "PONG\n")

    def redis_cli(self, *words: str) -> str:
        """Ask Redis as its probes do; empty where it refuses."""
        done = subprocess.run(  # noqa: S603 - our own words only
            [
                *(programs.find("redis-cli"), "-e", "-p", str(self.redis)),
                *("--no-auth-warning", "--user", "drawbridge-probe", "--pass", "any", *words),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout if done.returncode == 0 else ""

    def _prepare_database(self) -> None:
        """Make a database with the roles of the manifests."""
        server = PostgresServer()
        self._stack.callback(server.remove)
        server.start()
        name = server.create(tables=False)
        owner = server.url(name)
        password = self.directory / "service-password"
        password.write_text(_SERVICE_PASSWORD)
        metrics = self.directory / "metrics-password"
        metrics.write_text(_METRICS_PASSWORD)
        done = subprocess.run(  # noqa: S603 - our own words only
            ["/bin/sh", str(BASE / "postgres/roles.sh")],
            env={
                "PATH": os.environ["PATH"],
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "PGPASSWORD": owner.partition("@")[0].rpartition(":")[2],
                "POSTGRES_USER": postgresql.ROLE,
                "POSTGRES_DB": name,
                "SERVICE_PASSWORD_FILE": str(password),
                "METRICS_PASSWORD_FILE": str(metrics),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        service = f"auth_service:{_SERVICE_PASSWORD}"
        self._database = {
            "owner": owner,
            "service": f"postgresql+asyncpg://{service}@127.0.0.1:{server.port}/{name}",
        }

    def _certificate(self) -> None:
        """Have the image make one, as the dev overlay does."""
        directory = self.directory / "certificate"
        directory.mkdir()
        directory.chmod(0o777)
        self.once(
            "nginx",
            *("--volume", f"{directory}:/run/secrets/certificate"),
            *("--entrypoint", "make-certificate"),
            command=["/run/secrets/certificate"],
        )

    def _nginx_configuration(self) -> None:
        place = replace(
            PLACE,
            tls=[f"127.0.0.1:{self.tls}"],
            status=[f"127.0.0.1:{self.status}"],
            auth=[f"127.0.0.1:{self.auth}"],
            gateways=[f"127.0.0.1:{public}" for public, _ in self.gateways],
            open_files=1024,
        )
        nginx.write(nginx.render(place), self.directory / "nginx")
        for path in (self.directory / "nginx", *(self.directory / "nginx").rglob("*")):
            path.chmod(0o755)
