"""The programs of the distribution that the stack is made of, and how to get them.

Debian starts a service as soon as its package is there and at every boot. Here nobody asked for
that: during the installation the starting of services is forbidden the way the distribution means
it (``policy-rc.d``), and what was installed is not enabled either. Services that were there before
are left as they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from infra.stack.exceptions import StackError

#: Each program with its package in Debian and Ubuntu.
PACKAGES = {
    "nginx": "nginx-light",
    "redis-server": "redis-server",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "psql": "postgresql-client",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-nginx-exporter": "prometheus-nginx-exporter",
    "prometheus-redis-exporter": "prometheus-redis-exporter",
    "prometheus-postgres-exporter": "prometheus-postgres-exporter",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
}
#: What the tests start besides.
TEST_PACKAGES = {"chromium": "chromium", "curl": "curl", "node": "nodejs", "npm": "npm"}
#: What builds and runs images where there is no docker.
IMAGE_PACKAGES = {"buildah": "buildah", "podman": "podman", "runc": "runc"}
#: What makes the image that they are built on.
BASE_PACKAGES = {"mmdebstrap": "mmdebstrap"}
#: What compiles the load generator; the package of the compiler alone comes without headers.
COMPILER_PACKAGES = {"gcc": "build-essential"}
_KNOWN = PACKAGES | TEST_PACKAGES | IMAGE_PACKAGES | BASE_PACKAGES | COMPILER_PACKAGES
_SERVER = "postgresql"
_COMMON = "postgresql-common"
# The services of these packages, and those that come along.
_SERVICES = (
    "nginx",
    "redis-server",
    "postgresql",
    "prometheus",
    "prometheus-node-exporter",
    "prometheus-nginx-exporter",
    "prometheus-redis-exporter",
    "prometheus-postgres-exporter",
    "prometheus-blackbox-exporter",
    "podman",
    "podman-auto-update",
    "podman-restart",
)
# An ordinary user's PATH often lacks the second and third.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
# Debian keeps PostgreSQL's apart, in a directory per major version.
_POSTGRESQL = Path("/usr/lib/postgresql")
_POLICY = Path("/usr/sbin/policy-rc.d")
# Says whether the package makes a cluster of its own; comes with the package `postgresql-common`.
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")
_FORBIDDEN = 101


def find(program: str) -> str:
    """Return a program's path.

    Raises:
        StackError: It is not installed.
    """
    path = shutil.which(program, path=_search())
    if path is None:
        raise StackError(_instruction([program]))
    return path


def missing(wanted: Iterable[str] = tuple(PACKAGES)) -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in wanted if shutil.which(program, path=_search()) is None]


def require(wanted: Iterable[str] = tuple(PACKAGES)) -> None:
    """See to it that all programs are there; as root, install those that are not.

    Args:
        wanted: Keys of the tables above.

    Raises:
        StackError: Some are missing; the line says which, and what to type.
    """
    wanted = tuple(wanted)
    absent = missing(wanted)
    if not absent:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise StackError(_instruction(absent))
    packages = _packages(absent)
    print(f"Installing {' '.join(packages)}", flush=True)
    with _nothing_starts():
        if not _install(packages):
            # The lists may be old, or not there at all, as in a fresh container.
            _run(["apt-get", "update"])
            _install(packages)
    absent = missing(wanted)
    if absent:
        raise StackError(_instruction(absent))


def _install(packages: Sequence[str]) -> bool:
    before = _units()
    install = ["apt-get", "install", "--yes", "--no-install-recommends"]
    # Its configuration has to be there before the server's package looks at it.
    if _SERVER in packages and not _CLUSTERS.exists() and not _run([*install, _COMMON]):
        return False
    with _no_cluster():
        done = _run([*install, *packages])
    systemctl = shutil.which("systemctl")
    for unit in sorted(_units() - before):
        if systemctl and unit.rpartition(".")[0] in _SERVICES:
            _run([systemctl, "disable", unit])
    return done


@contextlib.contextmanager
def _no_cluster() -> Iterator[None]:
    """Have PostgreSQL's package make no cluster; for this installation, not for others."""
    if not _CLUSTERS.exists():
        yield
        return
    text = _CLUSTERS.read_text("utf-8")
    _CLUSTERS.write_text(f"{text}\ncreate_main_cluster = false\n", "utf-8")
    try:
        yield
    finally:
        _CLUSTERS.write_text(text, "utf-8")


def _search() -> str:
    versions = [path for path in _POSTGRESQL.glob("*/bin") if path.parent.name.isdigit()]
    versions.sort(key=lambda path: int(path.parent.name), reverse=True)
    # Before the PATH, where Debian has a wrapper under the name of psql.
    return os.pathsep.join([*map(str, versions), _PATH])


def _units() -> set[str]:
    folders = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
    kinds = ("*.service", "*.socket", "*.timer")
    return {unit.name for folder in folders for kind in kinds for unit in folder.glob(kind)}


def _run(command: Sequence[str]) -> bool:
    """Run a command; its output is shown only if it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # No word of the command comes from outside.
    done = subprocess.run(  # noqa: S603
        command, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


@contextlib.contextmanager
def _nothing_starts() -> Iterator[None]:
    """Forbid that installed services are started, unless somebody has a policy already."""
    if _POLICY.exists():
        verdict = subprocess.run(  # noqa: S603 - a file of the distribution
            [str(_POLICY), "redis-server", "start"], check=False, capture_output=True
        )
        if verdict.returncode != _FORBIDDEN:
            raise StackError(
                f"{_POLICY} lets new services start; {_instruction(missing())}, "
                "and stop what that has started"
            )
        yield
        return
    _POLICY.write_text(f"#!/bin/sh\nexit {_FORBIDDEN}\n")
    try:
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink()


def _instruction(absent: Sequence[str]) -> str:
    return (
        f"missing: {', '.join(absent)}; "
        f"as root: apt-get install --no-install-recommends {' '.join(_packages(absent))}"
    )


def _packages(programs: Sequence[str]) -> list[str]:
    return sorted({_KNOWN[program] for program in programs})
