"""The Autobahn|Testsuite's fuzzing client: where it is installed, and one run of it.

It is a program for Python 2.7 and will stay one, so it has its own interpreter and directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements" / "autobahn.txt"
AGENT = "drawbridge"
_ASKED = re.compile(r"will run (\d+) test cases")
# Of a package's directory, `site` reads the .pth files; these tie zope's namespace together.
_PROGRAM = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""


class SuiteError(Exception):
    """The suite could not be run; the text is one line for who has started it."""


def check(python2: str) -> None:
    """See that an interpreter can run the suite.

    Raises:
        SuiteError: It is not given, is not Python 2.7, or has no pip.
    """
    if not python2:
        raise SuiteError(
            "the Autobahn|Testsuite needs a Python 2.7: make autobahn PYTHON2=/path/to/python2.7"
        )
    version = _answer(python2, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    if version != "2.7":
        found = f"is Python {version}" if version else "cannot be run"
        raise SuiteError(f"the Autobahn|Testsuite needs a Python 2.7, and {python2} {found}")
    if not _answer(python2, "-m", "pip", "--version"):
        raise SuiteError(f"{python2} has no pip; perhaps: {python2} -m ensurepip")


def install(python2: str, directory: Path) -> None:
    """Install the suite, unless it is there already.

    Args:
        python2: The interpreter, checked.
        directory: For nothing else.

    Raises:
        SuiteError: pip has failed; it has said why.
    """
    stamp = directory / "stamp"
    wanted = f"{python2}\n{REQUIREMENTS.read_text('utf-8')}"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    shutil.rmtree(directory, ignore_errors=True)
    order = [
        *(python2, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
        *("--target", str(directory), "--no-deps", "--require-hashes"),
        *("--requirement", str(REQUIREMENTS)),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run(order, env=environment, check=False).returncode:  # noqa: S603 - a developer's own interpreter
        raise SuiteError(f"the Autobahn|Testsuite could not be installed into {directory}")
    stamp.write_text(wanted, "utf-8")


async def run(
    python2: str, directory: Path, *, port: int, cases: Sequence[str], report: Path
) -> int:
    """Run cases against an echo on loopback; what the suite says is in a file beside the report.

    Args:
        python2: The interpreter.
        directory: Where the suite is installed.
        port: Of the echo.
        cases: Numbers of cases; ``*`` stands for any end.
        report: The directory to write into; what is there is removed.

    Returns:
        How many cases there are to be results of.

    Raises:
        SuiteError: The suite has failed.
    """
    shutil.rmtree(report, ignore_errors=True)
    report.parent.mkdir(parents=True, exist_ok=True)
    specification, log = report.with_suffix(".json"), report.with_suffix(".log")
    specification.write_text(
        json.dumps(
            {
                "outdir": str(report),
                "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}"}],
                "cases": list(cases),
                "exclude-cases": [],
            }
        ),
        "utf-8",
    )
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(python2, "-c", _PROGRAM, str(directory)),
            *("--mode", "fuzzingclient", "--spec", str(specification)),
            env=os.environ | {"PYTHONPATH": str(directory)},
            stdout=output,
            stderr=output,
        )
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    asked = _ASKED.search(log.read_text("utf-8", "replace"))
    if status or asked is None:
        raise SuiteError(f"the Autobahn|Testsuite ended with status {status}: {log}")
    return int(asked[1])


def _answer(program: str, *arguments: str) -> str:
    """Return what a program prints, nothing if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - a developer's own interpreter
            [program, *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
