"""``python -m tests.chaos``: shakes the stack, and says whether it kept its promises.

``--check`` judges the histories of an earlier run; ``--planted`` gives gateways a bug that is to be
found.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos import planted
from tests.chaos.checker import check
from tests.chaos.circumstances import Circumstances
from tests.chaos.deadline import last_resort
from tests.chaos.figures import Figure, measure, table
from tests.chaos.history import Event, read
from tests.chaos.lateness import Excused, excused, excuses_table
from tests.chaos.run import Options, run
from tests.chaos.schedule import Kind
from tests.chaos.verdict import Verdict, timeline

EXIT_BROKEN = 1
EXIT_FAILED = 2
_DIRECTORY = Path(".local/chaos")
_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one seed after the other; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.check is not None:
        events = read(sorted(options.check.glob("*.jsonl")))
        circumstances = Circumstances(events)
        broken = _report(events, check(events, circumstances))
        print("\n".join(table(measure(events, circumstances))))
        print("\n".join(excuses_table([excused(events, circumstances)])))
        return EXIT_BROKEN if broken else 0
    status = 0
    figures: list[Figure] = []
    totals: Counter[str] = Counter()
    excuses: list[Excused] = []
    rows: list[str] = []
    for seed in range(options.seed, options.seed + options.seeds):
        directory = (_DIRECTORY / f"seed-{seed}").absolute()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
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
            with last_resort(given.limit_seconds, directory / "stacks.txt"):
                events = uvloop.run(run(given, directory))
        except Exception as failed:  # noqa: BLE001 - whatever it is, it is not a verdict
            print(f"seed {seed}: the run failed: {_causes(failed)}")
            return EXIT_FAILED
        circumstances = Circumstances(events)
        verdict = check(events, circumstances)
        figures += measure(events, circumstances)
        excuses.append(excused(events, circumstances))
        rows.append(_row(seed, verdict, excuses[-1]))
        totals.update(verdict.counts)
        if _report(events, verdict):
            status = EXIT_BROKEN
            print(f"again: make chaos MINUTES={options.minutes} SEED={seed}")
    print()
    print("\n".join(table(figures)))
    missing = sorted(set(Kind) - {figure.kind for figure in figures})
    print(f"kinds of faults that never happened: {', '.join(missing) or 'none'}")
    if options.previous is None:
        print("no previous version was named (PREVIOUS=), so none ran beside")
    print("\n".join(["", *excuses_table(excuses), "", *_HEAD, *rows, ""]))
    _print_counts(totals, f"all {options.seeds} seeds")
    return status


_HEAD = (
    "| seed | faults (kinds) | acknowledged | deliveries | late, excused | excused time | broken |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def _row(seed: int, verdict: Verdict, excuses: Excused) -> str:
    """Write a run as a line of a table."""
    counts = verdict.counts
    return (
        f"| {seed} | {counts['faults']} ({counts['kinds of faults']}) "
        f"| {counts['publications acknowledged']} | {counts['deliveries']} "
        f"| {counts['late deliveries excused']} | {excuses.any / (excuses.total or 1):.1%} "
        f"| {len(verdict.violations)} |"
    )


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
    return repr(failed)


def _report(events: Sequence[Event], verdict: Verdict) -> int:
    _print_counts(verdict.counts, "checked")
    print(f"violations: {len(verdict.violations)}")
    rules = Counter(f"promise {one.promise}, {one.rule}" for one in verdict.violations)
    for rule, count in rules.most_common(_SHOWN):
        print(f"  {rule}: {count}")
    first = verdict.first
    if first is not None:
        print(f"first: promise {first.promise}, {first.rule}: {first.text}")
        print(f"  client {first.client or '-'}, channel {first.channel or '-'}")
        print("\n".join(f"  {line}" for line in timeline(events, first)))
    return len(verdict.violations)


def _print_counts(counts: Counter[str], title: str) -> None:
    print(f"{title}:")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")


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
    parser.add_argument("--check", type=Path, help="judge what is in this directory")
    return parser


if __name__ == "__main__":
    sys.exit(main())
