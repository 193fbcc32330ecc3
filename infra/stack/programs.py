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
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-nginx-exporter": "prometheus-nginx-exporter",
    "prometheus-redis-exporter": "prometheus-redis-exporter",
}
#: What the tests start besides.
TEST_PACKAGES = {"chromium": "chromium", "curl": "curl", "node": "nodejs", "npm": "npm"}
# The services of these packages, and those that come along.
_SERVICES = (
    "nginx",
    "redis-server",
    "prometheus",
    "prometheus-node-exporter",
    "prometheus-nginx-exporter",
    "prometheus-redis-exporter",
)
# An ordinary user's PATH often lacks the second and third.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBIDDEN = 101


def find(program: str) -> str:
    """Return a program's path.

    Raises:
        StackError: It is not installed.
    """
    path = shutil.which(program, path=_PATH)
    if path is None:
        raise StackError(_instruction([program]))
    return path


def missing(wanted: Iterable[str] = tuple(PACKAGES)) -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in wanted if shutil.which(program, path=_PATH) is None]


def require(wanted: Iterable[str] = tuple(PACKAGES)) -> None:
    """See to it that all programs are there; as root, install those that are not.

    Args:
        wanted: Keys of ``PACKAGES`` and ``TEST_PACKAGES``.

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
    done = _run(["apt-get", "install", "--yes", "--no-install-recommends", *packages])
    systemctl = shutil.which("systemctl")
    for name in _SERVICES:
        unit = f"{name}.service"
        if systemctl and unit in _units() - before:
            _run([systemctl, "disable", unit])
    return done


def _units() -> set[str]:
    folders = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
    return {unit.name for folder in folders for unit in folder.glob("*.service")}


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
    known = PACKAGES | TEST_PACKAGES
    return sorted({known[program] for program in programs})
