"""``python -m tests.autobahn``: lets the Autobahn|Testsuite try the gateway's WebSockets."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from tests.autobahn import suite
from tests.autobahn.echo import Echoes
from tests.autobahn.verdict import Verdict, judge
from tests.ws_gateway.raw_server import serving

EXIT_FAILED = 1
EXIT_NOT_RUN = 2
_INSTALLED = Path(".venv-autobahn")
_REPORT = Path("build/autobahn/report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn")
    parser.add_argument("--python2", default="", help="a Python 2.7 with pip")
    parser.add_argument("--cases", default="*", help="such as '7.* 12.1.1'; all unless given")
    given = parser.parse_args(arguments)
    installed, report = _INSTALLED.absolute(), _REPORT.absolute()
    try:
        suite.check(given.python2)
        suite.install(given.python2, installed)
        log = report.with_suffix(".log")
        print(f"all cases take a quarter of an hour; to watch: {log}", flush=True)
        verdict = uvloop.run(_try(given.python2, installed, given.cases.split(), report))
    except suite.SuiteError as error:
        print(error, file=sys.stderr)
        return EXIT_NOT_RUN
    print(verdict)
    print(*verdict.faults, sep="\n", end="\n" if verdict.faults else "")
    return EXIT_FAILED if verdict.faults else 0


async def _try(python2: str, installed: Path, cases: Sequence[str], report: Path) -> Verdict:
    met: list[str] = []

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        what = context.get("exception") or context["message"]
        met.append(f"the gateway's event loop met {what!r}")

    asyncio.get_running_loop().set_exception_handler(note)
    async with serving(app=Echoes()) as running:
        asked = await suite.run(python2, installed, port=running.port, cases=cases, report=report)
    verdict = judge(report, asked)
    verdict.faults += met
    return verdict


if __name__ == "__main__":
    sys.exit(main())
