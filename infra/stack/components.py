"""What the stack consists of: how each part is run, stopped, and seen to work."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import auth_service.settings
import ws_gateway.settings
from infra.stack import (
    nginx,
    postgresql as postgresql_files,
    programs,
    prometheus,
    readiness,
    redis as redis_files,
)
from infra.stack.settings import AUTH_WORKERS, Settings

GATEWAY = "ws-gateway-"
NGINX = "nginx"
POSTGRESQL = "postgresql"
POSTGRESQL_EXPORTER = "postgresql-exporter"
_STOP_SECONDS = 20.0
# Beyond the drain of a gateway.
_FAREWELL_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of the stack.

    Attributes:
        name: Of its record and its log.
        command: Program and arguments.
        directory: Where it runs.
        ports: Where it listens on IPv4's loopback when it has started.
        works: Whether it answers.
        variables: Those of its environment that are its own.
        files: What it is configured by, besides.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    ports: tuple[int, ...]
    works: readiness.Check
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What changes whenever it would have to be started anew."""
        parts = [
            self.command,
            str(self.directory),
            sorted(self.variables.items()),
            [(str(path), text) for path, text in self.files.items()],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def environment(self, caller: Mapping[str, str]) -> dict[str, str]:
        """Return its environment: no part gets the settings, and secrets, of another one."""
        prefixes = (auth_service.settings.PREFIX, ws_gateway.settings.PREFIX)
        common = {name: value for name, value in caller.items() if not name.startswith(prefixes)}
        return {**common, **self.variables}


def redis(settings: Settings) -> Component:
    """Redis: between the gateways."""
    directory = settings.stack.path("redis").absolute()
    file = directory / "redis.conf"
    return Component(
        name="redis",
        command=(programs.find("redis-server"), str(file)),
        directory=directory,
        ports=(settings.ports.redis,),
        works=readiness.redis_answers(settings.ports.redis),
        files={file: redis_files.configuration(settings.ports.redis)},
    )


def postgresql(settings: Settings) -> Component:
    """PostgreSQL: what the token service remembers."""
    port = settings.ports.postgresql
    data = settings.postgresql.path("data").absolute()
    return Component(
        name=POSTGRESQL,
        command=(sys.executable, "-m", "infra.stack.postgresql_server", str(data), str(port)),
        directory=Path.cwd(),
        ports=(port,),
        works=readiness.postgresql_answers(port, postgresql_files.ROLE),
    )


def auth(settings: Settings) -> Component:
    """The token service under gunicorn."""
    metrics = settings.stack.path("auth-metrics").absolute()
    return Component(
        name="auth-service",
        command=(sys.executable, "-m", "auth_service", "serve", "--workers", str(AUTH_WORKERS)),
        directory=Path.cwd(),
        ports=(settings.ports.auth, settings.ports.auth_internal),
        works=readiness.answers(settings.ports.auth_internal, "/health/ready"),
        variables={**settings.auth_environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics)},
    )


def gateway(settings: Settings, number: int) -> Component:
    """One gateway, counted from 1."""
    port, internal = settings.ports.gateway(number), settings.ports.gateway_internal(number)
    return Component(
        name=f"{GATEWAY}{number}",
        command=(sys.executable, "-m", "ws_gateway"),
        directory=Path.cwd(),
        ports=(port, internal),
        works=readiness.answers(internal, "/health/ready"),
        variables={
            **settings.gateway_environment,
            "GATEWAY_BIND": f"127.0.0.1:{port}",
            "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
        },
    )


def front(settings: Settings) -> Component:
    """nginx: what clients see. Its configuration is no part of it, for it can change on the run."""
    directory = settings.stack.path("nginx").absolute()
    logs = settings.stack.path("logs").absolute()
    return Component(
        name=NGINX,
        command=nginx.command(programs.find("nginx"), directory, logs),
        directory=directory,
        ports=(settings.ports.tls, settings.ports.plain, settings.ports.nginx_status),
        works=readiness.answers(settings.ports.nginx_status, "/health"),
    )


def nginx_exporter(settings: Settings) -> Component:
    """Numbers of nginx for Prometheus; it ends at once if nginx does not run."""
    ports = settings.ports
    return Component(
        name="nginx-exporter",
        command=(
            programs.find("prometheus-nginx-exporter"),
            f"-nginx.scrape-uri=http://127.0.0.1:{ports.nginx_status}/stub_status",
            f"-web.listen-address=127.0.0.1:{ports.nginx_exporter}",
        ),
        directory=settings.stack.path("nginx").absolute(),
        ports=(ports.nginx_exporter,),
        works=readiness.answers(ports.nginx_exporter, "/metrics"),
    )


def postgresql_exporter(settings: Settings) -> Component:
    """Numbers of the stack's own PostgreSQL; the password is in a file only."""
    ports = settings.ports
    return Component(
        name=POSTGRESQL_EXPORTER,
        command=(
            programs.find("prometheus-postgres-exporter"),
            f"--web.listen-address=127.0.0.1:{ports.postgresql_exporter}",
        ),
        directory=settings.stack.path("prometheus").absolute(),
        ports=(ports.postgresql_exporter,),
        works=readiness.answers(ports.postgresql_exporter, "/metrics"),
        variables={
            "DATA_SOURCE_URI": (
                f"127.0.0.1:{ports.postgresql}/{postgresql_files.DATABASE}?sslmode=disable"
            ),
            "DATA_SOURCE_USER": postgresql_files.ROLE,
            "DATA_SOURCE_PASS_FILE": str(
                settings.postgresql.path(postgresql_files.PASSWORD_FILE).absolute()
            ),
        },
    )


def monitoring(settings: Settings) -> list[Component]:
    """Prometheus, Redis' numbers for it, and what looks at the front as a client would."""
    ports = settings.ports
    directory = settings.stack.path("prometheus").absolute()
    file = directory / "prometheus.yml"
    probe = directory / "probe.yml"
    return [
        Component(
            name="redis-exporter",
            command=(
                programs.find("prometheus-redis-exporter"),
                f"-redis.addr=redis://127.0.0.1:{ports.redis}",
                f"-web.listen-address=127.0.0.1:{ports.redis_exporter}",
            ),
            directory=directory,
            ports=(ports.redis_exporter,),
            works=readiness.answers(ports.redis_exporter, "/metrics"),
        ),
        Component(
            name="probe",
            command=(
                programs.find("prometheus-blackbox-exporter"),
                f"--config.file={probe}",
                f"--web.listen-address=127.0.0.1:{ports.probe}",
            ),
            directory=directory,
            ports=(ports.probe,),
            works=readiness.answers(ports.probe, "/-/healthy"),
            files={probe: prometheus.probe(settings.local.path("ca.pem").absolute())},
        ),
        Component(
            name="prometheus",
            command=(
                programs.find("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                "--storage.tsdb.retention.time=7d",
                f"--web.listen-address=127.0.0.1:{ports.prometheus}",
            ),
            directory=directory,
            ports=(ports.prometheus,),
            works=readiness.answers(ports.prometheus, "/-/ready"),
            files={
                directory / source.relative_to(prometheus.SOURCE.parent): source.read_text("utf-8")
                for source in (prometheus.SOURCE, *prometheus.rules())
            },
        ),
    ]


def stop_signal(name: str) -> signal.Signals:
    """Return what asks a part to end well."""
    # SIGTERM would have PostgreSQL wait for its clients.
    return {NGINX: signal.SIGQUIT, POSTGRESQL: signal.SIGINT}.get(name, signal.SIGTERM)


def stop_seconds(name: str, drain_seconds: float) -> float:
    """Return how long its farewell may take."""
    if name.startswith(GATEWAY):
        return drain_seconds + _FAREWELL_SECONDS
    # Slow readers of nginx, whose sockets' gateways have gone, are not waited for.
    return 3.0 if name == NGINX else _STOP_SECONDS


def gateway_number(name: str) -> int | None:
    """Return which gateway this is; None for other parts."""
    text = name.removeprefix(GATEWAY)
    return int(text) if text != name and text.isdigit() else None


def open_files() -> int:
    """Return how many files a process may have open here."""
    return min(os.sysconf("SC_OPEN_MAX"), 65_536)
