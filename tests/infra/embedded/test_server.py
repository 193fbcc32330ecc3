"""The start that fails: one line, and nothing begun. The one that succeeds is in integration."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded import server


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ports that are free, a directory of the test's own, and the log as it was."""
    for variable in list(os.environ):
        if variable.startswith(("AUTH_", "GATEWAY_", "DRAWBRIDGE_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("DRAWBRIDGE_LOCAL", str(tmp_path / "local"))
    for variable in (
        "DRAWBRIDGE_FRONT",
        "AUTH_BIND",
        "AUTH_INTERNAL_BIND",
        "GATEWAY_INTERNAL_BIND",
    ):
        monkeypatch.setenv(variable, "127.0.0.1:0")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DRAWBRIDGE_FRONT", "0.0.0.0:8443"),
        ("DRAWBRIDGE_FRONT", "localhost"),
        ("DRAWBRIDGE_LOCAL", "a path"),
        ("DRAWBRIDGE_LOCAL", "/dev/null/local"),
        ("AUTH_BIND", "192.0.2.1:8001"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "5"),
        ("AUTH_ENVIRONMENT", "production"),
        ("AUTH_DANCE", "1"),
        ("GATEWAY_BIND", "0.0.0.0:0"),
        ("GATEWAY_PING_INTERVAL", "often"),
        ("GATEWAY_CHANNELS_FILE", "missing.toml"),
        ("GATEWAY_HOOKS", "missing:hooks"),
        ("GATEWAY_ISSUERS", "["),
        ("GATEWAY_ORIGINS", "*"),
        ("GATEWAY_DANCE", "1"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Status 2, nothing on standard output, no traceback."""
    monkeypatch.setenv(variable, value)

    assert server.main() == 2

    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"{variable}: ")
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("variable", ["DRAWBRIDGE_FRONT", "AUTH_BIND", "GATEWAY_INTERNAL_BIND"])
def test_a_busy_port_stops_before_anything_is_made(
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Another server may be using the same directory."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        monkeypatch.setenv(variable, f"127.0.0.1:{busy.getsockname()[1]}")

        assert server.main() == 2

    said = capfd.readouterr().err
    assert said.startswith(f"{variable}: cannot listen on 127.0.0.1:")
    assert not (tmp_path / "local").exists()
