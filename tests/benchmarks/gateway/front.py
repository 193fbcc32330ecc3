"""nginx with the project's configuration, in front of the gateways that are measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from infra.stack import nginx, programs
from tests.benchmarks.gateway.servers import command
from tests.free_ports import free_ports

OPEN_FILES = 20_000


@contextmanager
def front(directory: Path, gateways: Sequence[int]) -> Iterator[int]:
    """Run nginx without limits; gives the port of its listener without TLS.

    Args:
        directory: For its files; must not be there.
        gateways: Their ports.
    """
    plain, tls, status, auth = free_ports(4)
    logs = directory / "logs"
    logs.mkdir(parents=True)
    certificate.ensure(LocalDirectory(str(directory)))
    place = nginx.Place(
        tls=[f"127.0.0.1:{tls}"],
        plain=[f"127.0.0.1:{plain}"],
        status=[f"127.0.0.1:{status}"],
        auth=[f"127.0.0.1:{auth}"],
        gateways=[f"127.0.0.1:{port}" for port in gateways],
        certificate=certificate.SERVER,
        key=certificate.KEY,
        limits=None,
        workers=os.cpu_count() or 1,
        open_files=OPEN_FILES,
        user="www-data" if os.geteuid() == 0 else "",
        linger_seconds=60,
        logs="logs",
        run=".",
    )
    nginx.write(nginx.render(place), directory)
    words = nginx.command(programs.find("nginx"), directory, logs)
    with command("nginx", words, plain):
        yield plain
