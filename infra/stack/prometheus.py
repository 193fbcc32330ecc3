"""Whom Prometheus scrapes, as files that it watches: a gateway more needs no restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.embedded.local_directory import PRIVATE, LocalDirectory
from infra.embedded.settings import Origin
from infra.stack.settings import Ports

SOURCE = Path("infra/prometheus/prometheus.yml")
# Served by the auth service, so that the probe sees more than nginx.
_PROBED = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, slots=True)
class Targets:
    """What one scrape job asks.

    Attributes:
        addresses: Host and port of each.
        labels: Of all of them, those for the scrape itself (``__...``) among them.
    """

    addresses: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


def targets(ports: Ports, gateways: int, *, own_database: bool = True) -> dict[str, Targets]:
    """Return whom to ask, by scrape job.

    Args:
        ports: Where everything listens.
        gateways: How many there are.
        own_database: Whether PostgreSQL is the stack's.
    """
    internal = [ports.gateway_internal(number) for number in range(1, gateways + 1)]
    origin = str(Origin(ports.tls))
    probed = {
        "__metrics_path__": "/probe",
        "__param_module": "front",
        "__param_target": f"{origin}{_PROBED}",
        "instance": origin,
    }
    database = [ports.postgresql_exporter] if own_database else []
    return {
        "auth-service": _at([ports.auth_internal]),
        "ws-gateway": _at(internal),
        "nginx": _at([ports.nginx_exporter]),
        "redis": _at([ports.redis_exporter]),
        "postgresql": _at(database),
        "front": _at([ports.probe], probed),
        # It is not of the stack.
        "canary": _at([]),
        "prometheus": _at([ports.prometheus]),
    }


def write_targets(wanted: Mapping[str, Targets], directory: Path) -> None:
    """Write one file a job, each in one step: Prometheus reads them at any moment."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = LocalDirectory(str(directory))
    for job, listed in wanted.items():
        group: dict[str, object] = {"targets": list(listed.addresses)}
        if listed.labels:
            group["labels"] = dict(listed.labels)
        content = json.dumps([group]).encode()
        if files.read(f"{job}.json") != content:
            files.write(f"{job}.json", content, mode=PRIVATE)


def rules() -> list[Path]:
    """Return the files with recording rules and alerts."""
    return sorted((SOURCE.parent / "rules").glob("*.yml"))


def probe(authority: Path) -> str:
    """Return the configuration of what looks at the front from outside.

    JSON, which every reader of YAML understands.

    Args:
        authority: PEM file of who signed the front's certificate.
    """
    front = {
        "preferred_ip_protocol": "ip4",
        "follow_redirects": False,
        "fail_if_not_ssl": True,
        "tls_config": {"ca_file": str(authority)},
    }
    return json.dumps(
        {"modules": {"front": {"prober": "http", "timeout": "3s", "http": front}}}, indent=2
    )


def _at(ports: list[int], labels: Mapping[str, str] | None = None) -> Targets:
    return Targets(tuple(f"127.0.0.1:{port}" for port in ports), labels or {})
