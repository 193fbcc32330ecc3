"""``make load`` from its start to its verdict, at a small scale."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from infra.load import __main__ as entry
from infra.load.settings import Plan
from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("travel", ["header", "connect"])
def test_a_small_load_loses_nothing(  # noqa: PLR0917
    front: Embedded,
    stack_of_front: dict[str, str],
    travel: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every user comes, hears all, and closes; the tokens are gone afterwards."""
    monkeypatch.setattr(entry, "REPORTS", tmp_path / "load")
    small = {"USERS": "6", "ROOM": "2", "EVERY": "0.5", "TIME": "5s", "TOKENS": travel}

    status = entry.run({"PATH": os.environ["PATH"]} | stack_of_front | small)

    said = capfd.readouterr().out
    assert status == 0, said
    assert "connections    6, by gateway: 6\n" in said
    with (tmp_path / "load/load_stats.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert {rows[name]["Request Count"] for name in ("connect", "subscribe")} == {"6"}
    # Rooms of one process, of two and of one of the three users each.
    published, delivered = (int(rows[name]["Request Count"]) for name in ("publish", "delivery"))
    assert published < delivered < 2 * published
    assert {row["Failure Count"] for row in rows.values()} == {"0"}
    report = (tmp_path / "load/report.html").read_text("utf-8")
    assert "DELIVERY" in report
    assert (tmp_path / "load/summary.txt").read_text("utf-8") in said
    assert not (front.local / entry.JOB).exists()
    assert front.probe.get("/health/ready").status_code == 200


def test_without_a_stack_it_says_so_in_one_line(
    stack_of_nobody: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And what to type."""
    for name, value in stack_of_nobody.items():
        monkeypatch.setenv(name, value)

    assert entry.main() == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("make load: nothing answers at wss://localhost:")
    assert line.endswith("make up LIMITS=load GATEWAYS=2")


@pytest.mark.parametrize(
    ("variable", "text", "status"),
    [
        ("USERS", "none", 1),
        ("DRAWBRIDGE_PORT_OFFSET", "x", 1),
        ("AUTH_ACCESS_TOKEN_SECONDS", "1", 2),
    ],
)
def test_a_wrong_variable_is_one_line(
    variable: str,
    text: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No traceback."""
    monkeypatch.setenv(variable, text)

    assert entry.main() == status
    (line,) = capfd.readouterr().err.splitlines()
    assert line.removeprefix("make load: ").startswith(f"{variable}: ")


def test_without_locust_it_says_so(
    stack_of_front: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """``make load`` installs it; somebody who starts the module has not."""
    for name, value in stack_of_front.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(entry, "LOCUST", Path("nowhere/locust"))

    assert entry.main() == 1
    assert capfd.readouterr().err == "make load: nowhere/locust is missing; make load makes it\n"


def test_an_interrupted_test_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C has the usual status."""

    def interrupt(_environment: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "run", interrupt)

    assert entry.main() == 130


def test_failures_are_in_locusts_own_status() -> None:
    """And it asks for all reports."""
    command = entry.command(Plan(host="wss://localhost:8443", users=7), 5557)

    assert command[command.index("--exit-code-on-error") + 1] == "1"
    assert command[command.index("--users") + 1] == "7"
    assert {"--csv", "--html"} <= set(command)
