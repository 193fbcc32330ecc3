"""The program itself: how it starts and ends, and services that go and return meanwhile."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import pytest

from infra.canary.__main__ import EXIT_CONFIGURATION
from tests.integration.embedded import Embedded, free_ports

#: As long as a busy machine may take; nothing waits for it where all is well.
LONG = 60.0
PACKAGE = Path("infra/canary")


def start(settings: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CANARY_")
    }
    return subprocess.Popen(
        [sys.executable, "-m", "infra.canary"],
        env=environment | dict(settings),
        stderr=subprocess.PIPE,
        text=True,
    )


class Numbers:
    """What a running canary tells Prometheus.

    Args:
        port: Where.
        process: That must not end meanwhile.
    """

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._process = process

    def read(self, name: str) -> float:
        """Read one; 0 while nobody answers."""
        try:
            text = httpx2.get(self._url, trust_env=False, timeout=LONG).text
        except httpx2.TransportError:
            return 0.0
        (value,) = (line.split()[-1] for line in text.splitlines() if line.startswith(f"{name} "))
        return float(value)

    def rise(self, name: str) -> None:
        """Wait until a number is larger than it is."""
        before = self.read(name)
        self.until(lambda: self.read(name) > before)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


def step(stage: str, outcome: str) -> str:
    """Name the count of a step."""
    return f'canary_attempts_total{{outcome="{outcome}",stage="{stage}"}}'


@pytest.mark.integration
def test_it_outlives_the_services_and_ends_when_it_is_told(tmp_path: Path) -> None:
    """Killed and back: it says so in its numbers, succeeds again, and was never restarted."""
    server = Embedded(tmp_path).start()
    password = tmp_path / "password"
    password.write_text(f"{server.passwords['alice']}\n")
    (port,) = free_ports(1)
    canary = start(
        {
            "CANARY_URL": server.url,
            "CANARY_USER": "alice",
            "CANARY_PASSWORD_FILE": str(password),
            "CANARY_CLIENT_ID": "chat",
            "CANARY_CHANNEL": "room:canary",
            "CANARY_INTERVAL_SECONDS": "0.1",
            "CANARY_DEADLINE_SECONDS": "1",
            "CANARY_BIND": f"127.0.0.1:{port}",
            "CANARY_CA_FILE": str(server.local / "ca.pem"),
        }
    )
    numbers = Numbers(port, canary)
    try:
        numbers.rise(step("receive", "success"))
        server.process.kill()
        server.process.wait()
        numbers.rise(step("connect", "failure"))

        last = numbers.read("canary_last_success_timestamp_seconds")
        server.start()
        numbers.rise(step("receive", "success"))

        assert numbers.read("canary_reconnects_total") >= 1
        assert numbers.read("canary_last_success_timestamp_seconds") > last
        canary.send_signal(signal.SIGTERM)
        _, said = canary.communicate(timeout=LONG)
    finally:
        canary.kill()
        server.stop()
    assert canary.returncode == 0
    assert '"event": "attempt failed"' in said
    assert server.passwords["alice"] not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"CANARY_PASSWORD": "x"}, "CANARY_URL: must be set"),
        ({"CANARY_URL": "https://localhost"}, "CANARY_PASSWORD: must be set"),
        (
            {
                "CANARY_URL": "https://localhost",
                "CANARY_PASSWORD": "x",
                "CANARY_CA_FILE": "pyproject.toml",
            },
            "CANARY_CA_FILE: ",
        ),
        (
            {
                "CANARY_URL": "https://localhost",
                "CANARY_PASSWORD": "x",
                "CANARY_BIND": "192.0.2.1:9",
            },
            "CANARY_BIND: ",
        ),
    ],
    ids=["url", "password", "authority", "address"],
)
def test_a_wrong_setting_is_one_line(settings: Mapping[str, str], line: str) -> None:
    """And a status of its own."""
    with start(settings) as process:
        _, said = process.communicate(timeout=LONG)

    assert process.returncode == EXIT_CONFIGURATION
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_it_needs_nothing_of_ours() -> None:
    """Its image has this package and its own dependencies only."""
    found = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
            elif isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
    others = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}

    ours = {name for name in others if name.startswith("infra.canary.")}
    assert {name.partition(".")[0] for name in others - ours} == {
        "centrifuge",
        "httpx2",
        "prometheus_client",
    }
