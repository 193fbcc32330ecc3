"""``python -m infra.load``: what ``make load`` does; ``settings`` has the variables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from auth_service.exceptions import ConfigurationError as AuthConfigurationError
from infra.embedded import certificate
from infra.embedded.local_directory import PRIVATE
from infra.load import settings, tokens
from infra.load.result import Result
from infra.load.settings import LoadError, Plan
from infra.load.summary import Summary
from infra.stack.exceptions import StackError
from infra.stack.settings import read as read_stack
from ws_gateway.exceptions import ConfigurationError as GatewayConfigurationError

LOCUST = Path(".venv-load/bin/locust")
REPORTS = Path("build/load")
JOB = "load.json"
# The job's file is named to the processes here.
VARIABLE = "DRAWBRIDGE_LOAD"
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_INTERRUPTED = 130
# Beyond the test itself: processes start, and tokens outlive it.
_SPARE_SECONDS = 120


def main() -> int:
    """Run one load test; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(os.environ)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (LoadError, StackError) as error:
        sys.stderr.write(f"make load: {error}\n")
        return EXIT_FAILED
    except (AuthConfigurationError, GatewayConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION


def run(environment: Mapping[str, str]) -> int:
    """Make the tokens, start locust, wait, and show what it came to.

    Raises:
        LoadError: It cannot be run.
        StackError: A variable of the stack is wrong.
        ConfigurationError: One of a service is wrong.
    """
    stack = read_stack(environment)
    plan = settings.read(environment, host=f"wss://{stack.origin.authority}")
    if not LOCUST.exists():
        raise LoadError(f"{LOCUST} is missing; make load makes it")
    keys = tokens.stack_keys(stack.auth)
    certificates = stack.local.path(certificate.CA).absolute()
    tokens.check(plan.host, certificates=certificates, kid=keys.signing.kid)
    minted = tokens.mint(
        plan.users + plan.workers,
        keys=keys,
        issuer=stack.auth.issuer,
        audience=stack.auth.audience,
        lifetime_seconds=plan.run_seconds + plan.users / plan.rate + _SPARE_SECONDS,
        now=time.time(),
    )
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    stack.local.write(JOB, job(plan, certificates, minted), mode=PRIVATE)
    try:
        busy = _busy()
        status = locust(plan, environment, stack.local.path(JOB).absolute())
        machine = _share(busy, _busy())
    finally:
        stack.local.path(JOB).unlink(missing_ok=True)
    results = [Result.load(path.read_text("utf-8")) for path in REPORTS.glob("result-*.json")]
    summary = Summary(plan, results, machine)
    (REPORTS / "summary.txt").write_text(summary.text(), encoding="utf-8")
    sys.stdout.write(f"\n{summary.text()}\nReports: {REPORTS}/report.html, {REPORTS}/load_*.csv\n")
    if status and not summary.problems():
        sys.stdout.write(f"FAILED: locust ended with {status}\n")
    return EXIT_FAILED if status or summary.problems() else 0


def job(plan: Plan, certificates: Path, minted: Sequence[str]) -> bytes:
    """Write what locust's processes have to know, secrets among it.

    Args:
        plan: What to do.
        certificates: Whom to trust.
        minted: A token for each user, and for each process one more.
    """
    content = {
        "url": f"{plan.host}/connection/websocket",
        "certificates": str(certificates),
        "scenario": plan.scenario,
        "storm_at": plan.storm_at,
        "size": plan.size,
        "travel": plan.travel,
        "seconds": plan.seconds,
        "settle": plan.settle,
        "room": plan.room,
        "every": plan.every,
        "workers": plan.workers,
        "reports": str(REPORTS.absolute()),
        "tokens": minted,
    }
    return json.dumps(content).encode()


def command(plan: Plan, port: int) -> list[str]:
    """Return locust's command line.

    Args:
        plan: What to do.
        port: Where its processes meet.
    """
    return [
        *(str(LOCUST.absolute()), "-f", "infra/load/locustfile.py", "--headless"),
        *("--host", plan.host, "--users", str(plan.users), "--spawn-rate", str(plan.rate)),
        *("--run-time", f"{plan.run_seconds}s", "--processes", str(plan.workers)),
        *("--stop-timeout", "10", "--exit-code-on-error", "1", "--only-summary"),
        *("--csv", str(REPORTS / "load"), "--csv-full-history"),
        *("--html", str(REPORTS / "report.html"), "--loglevel", "WARNING"),
        *("--logfile", str(REPORTS / "locust.log")),
        *("--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
        *("--master-host", "127.0.0.1", "--master-port", str(port)),
    ]


def locust(plan: Plan, environment: Mapping[str, str], file: Path) -> int:
    """Run locust to its end; returns its status.

    Args:
        plan: What to do.
        environment: Of the caller.
        file: With the job.

    Raises:
        LoadError: It does not end.
    """
    with socket.socket() as free:  # two tests on one machine do not meet
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {name: text for name, text in environment.items() if "LOCUST" not in name}
    child = subprocess.Popen(  # noqa: S603 - our own words, checked
        command(plan, port),
        env={**inherited, VARIABLE: str(file), "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.DEVNULL,
    )
    try:
        return child.wait(plan.run_seconds + plan.users / plan.rate + _SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        raise LoadError(f"locust does not end; see {REPORTS}/locust.log") from None
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def _busy() -> tuple[int, int]:
    """Return the machine's time so far: in use, and all of it."""
    try:
        line = Path("/proc/stat").read_text("ascii").splitlines()[0]
    except OSError:
        return 0, 0
    times = [int(word) for word in line.split()[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
