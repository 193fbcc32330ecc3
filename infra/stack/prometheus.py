"""Whom Prometheus scrapes, as files that it watches: a gateway more needs no restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from infra.embedded.local_directory import PRIVATE, LocalDirectory
from infra.stack.settings import Ports

SOURCE = Path("infra/prometheus/prometheus.yml")


def targets(ports: Ports, gateways: int) -> dict[str, list[str]]:
    """Return the addresses by scrape job."""
    internal = [ports.gateway_internal(number) for number in range(1, gateways + 1)]
    return {
        "auth-service": [f"127.0.0.1:{ports.auth_internal}"],
        "ws-gateway": [f"127.0.0.1:{port}" for port in internal],
        "nginx": [f"127.0.0.1:{ports.nginx_exporter}"],
        "redis": [f"127.0.0.1:{ports.redis_exporter}"],
        "prometheus": [f"127.0.0.1:{ports.prometheus}"],
    }


def write_targets(addresses: Mapping[str, list[str]], directory: Path) -> None:
    """Write one file a job, each in one step: Prometheus reads them at any moment."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = LocalDirectory(str(directory))
    for job, listed in addresses.items():
        content = json.dumps([{"targets": listed}]).encode()
        if files.read(f"{job}.json") != content:
            files.write(f"{job}.json", content, mode=PRIVATE)
