"""``python -m tests.chaos``: shakes the stack, and says whether it kept its promises.

``--check`` judges the histories of an earlier run; ``--planted`` gives gateways a bug that is to be
found.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos import planted
from tests.chaos.deadline import StoodStill, last_resort
from tests.chaos.history import Event, read_all
from tests.chaos.report import Report
from tests.chaos.run import Options, run
from tests.chaos.schedule import Kind

EXIT_BROKEN = 1
EXIT_FAILED = 2
_DIRECTORY = Path(".local/chaos")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one seed after the other; returns the exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    report = Report(print)
    status = 0
    for directory in options.check:
        print(f"{directory}:")
        report.add(directory.name, read_all(directory))
    seeds = () if options.check else range(options.seed, options.seed + options.seeds)
    for seed in seeds:
        directory = (_DIRECTORY / f"seed-{seed}").absolute()
        given = Options(
            seed=seed,
            seconds=60 * options.minutes,
            clients=options.clients,
            rate=options.rate,
            previous=options.previous.absolute() if options.previous else None,
            **_planted(options.planted, options.only),
        )
        print(f"seed {seed}, {options.minutes} min, {options.clients} clients: {directory}")
        try:
            events = _run(given, directory)
        except Exception as failed:  # noqa: BLE001 - whatever it is, it is not a verdict
            print(f"seed {seed}: the run failed: {_causes(failed)}")
            status = EXIT_FAILED
        else:
            if not report.add(f"seed {seed}", events):
                print(f"again: make chaos MINUTES={options.minutes} SEED={seed}")
    report.finish()
    if seeds and options.previous is None:
        print("no previous version was named (PREVIOUS=), so none ran beside")
    return status or (EXIT_BROKEN if report.broken else 0)


def _run(options: Options, directory: Path) -> list[Event]:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with last_resort(options.limit_seconds, directory / "stacks.txt"):
        return uvloop.run(run(options, directory))


def _planted(bug: str, only: Sequence[str]) -> dict[str, Any]:
    """Return what has gateways run with a bug, or with some faults only."""
    if not bug:
        return {"kinds": tuple(map(Kind, only)) or None}
    return {
        "runner": planted.__name__,
        "settings": {planted.VARIABLE: bug},
        "kinds": planted.CAUSES[bug],
    }


def _causes(failed: BaseException) -> str:
    """Write what a task group wraps: which fault it was is in there."""
    if isinstance(failed, BaseExceptionGroup):
        return "; ".join(map(_causes, failed.exceptions))
    if isinstance(failed.__context__, StoodStill):
        return f"{failed!r}, after {failed.__context__!r}"
    return repr(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=210, help="attempts to publish a second")
    parser.add_argument(
        "--planted", choices=planted.BUGS, default="", help="a bug that gateways are given"
    )
    parser.add_argument(
        "--only", choices=[*Kind], default=[], action="append", help="a fault; others do not happen"
    )
    parser.add_argument("--previous", type=Path, help="a working tree of the version before")
    parser.add_argument(
        "--check", type=Path, nargs="+", default=[], help="judge what is in these directories"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
