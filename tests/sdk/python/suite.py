"""``make test-sdk``: the official Python SDK's own live tests, unchanged, against our servers.

First against two gateways with Redis behind one nginx, then against the embedded server. The suite
knows one address, port 8000 of localhost, and no TLS; it signs its tokens with the secret
``secret``, which only an insecure server accepts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.embedded import loopback
from tests.integration.embedded import Embedded
from tests.integration.stack import Stack

HERE = Path(__file__).parent
BUILD = Path("build/sdk/python")
PORT = 8000
SUITE_SECONDS = 900
SETTINGS = {
    "GATEWAY_HMAC_SECRET": "secret",
    "GATEWAY_INSECURE": "1",
    "GATEWAY_CHANNELS_FILE": str(HERE / "channels.toml"),
}


def fetch() -> Path:
    """Get the SDK's source package, unless it is there; returns its folder."""
    folders = list(BUILD.glob("centrifuge_python-*/"))
    if folders:
        return folders[0]
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run(  # noqa: S603 - our own words only
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", "centrifuge-python", "--require-hashes"),
            *("--requirement", str(HERE / "requirements.txt"), "--dest", str(BUILD)),
        ],
        check=True,
    )
    (archive,) = BUILD.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(BUILD, filter="data")
    (folder,) = BUILD.glob("centrifuge_python-*/")
    return folder


def run(folder: Path) -> bool:
    """Run the suite; says whether all of it passed."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-m", "unittest", "-v", "tests.test_client"],
        cwd=folder,
        # The package itself, and not the one that happens to be installed.
        env=os.environ | {"PYTHONPATH": str(folder.absolute())},
        timeout=SUITE_SECONDS,
        check=False,
    )
    return done.returncode == 0


@contextlib.contextmanager
def stack(directory: Path) -> Iterator[Callable[[], bool]]:
    """Two gateways and Redis behind nginx; gives what says whether both served connections."""
    running = Stack(directory, SETTINGS | {"LIMITS": "load"}, offset=0)
    running.up(2)

    def both_served() -> bool:
        name = "gateway_connection_duration_seconds_count"
        ports = [running.ports.gateway_internal(number) for number in (1, 2)]
        served = [running.metric(port, name) for port in ports]
        print(f"connections that each gateway has served: {served}")
        return all(served)

    try:
        yield both_served
    finally:
        running.order("down")


@contextlib.contextmanager
def embedded(directory: Path) -> Iterator[Callable[[], bool]]:
    """One process with everything; gives what says whether it served connections."""
    addresses = [f"127.0.0.1:{PORT}"] + ([f"[::1]:{PORT}"] if loopback.has_ipv6() else [])
    running = Embedded(directory, SETTINGS | {"GATEWAY_BIND": ",".join(addresses)}).start()

    def served() -> bool:
        count = running.metric("gateway_connection_duration_seconds_count")
        print(f"connections that the embedded server has served: {count}")
        return count > 0

    try:
        yield served
    finally:
        running.stop()


def main() -> int:
    """Run all; returns the exit status."""
    folder = fetch()
    good = True
    for name, arrangement in (("stack", stack), ("embedded", embedded)):
        with (
            tempfile.TemporaryDirectory(prefix="drawbridge-sdk-") as directory,
            arrangement(Path(directory)) as served,
        ):
            print(f"centrifuge-python against: {name}", flush=True)
            passed = run(folder) and served()
            print(f"centrifuge-python against: {name}: {'passed' if passed else 'FAILED'}")
            good = good and passed
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
