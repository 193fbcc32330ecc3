"""What is told of runs: each one's verdict, and the tables of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tests.chaos.checker import check
from tests.chaos.circumstances import Circumstances
from tests.chaos.figures import Figure, measure, table
from tests.chaos.history import Event
from tests.chaos.lateness import Excused, excused, excuses_table
from tests.chaos.schedule import Kind
from tests.chaos.verdict import Verdict, timeline

_SHOWN = 10
_HEAD = (
    "| run | faults (kinds) | acknowledged | deliveries | late, excused | excused time | broken |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


class Report:
    """Judges runs, one after the other, and keeps what the tables need.

    Args:
        say: Takes each line.

    Attributes:
        broken: How many promises were broken in all of them.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.broken = 0
        self._figures: list[Figure] = []
        self._excuses: list[Excused] = []
        self._rows: list[str] = []
        self._totals: Counter[str] = Counter()

    def add(self, name: str, events: Sequence[Event]) -> bool:
        """Judge a run and tell the verdict; returns whether every promise was kept.

        Args:
            name: Of the run.
            events: All of its history, in order.
        """
        circumstances = Circumstances(events)
        verdict = check(events, circumstances)
        excuses = excused(events, circumstances)
        self._figures += measure(events, circumstances)
        self._excuses.append(excuses)
        self._rows.append(_row(name, verdict, excuses))
        self._totals.update(verdict.counts)
        self.broken += len(verdict.violations)
        self._say(_verdict(events, verdict))
        return not verdict.violations

    def finish(self) -> None:
        """Tell the tables."""
        self._say("\n".join(["", *table(self._figures)]))
        missing = sorted(set(Kind) - {figure.kind for figure in self._figures})
        self._say(f"kinds of faults that never happened: {', '.join(missing) or 'none'}")
        self._say("\n".join(["", *excuses_table(self._excuses), "", *_HEAD, *self._rows, ""]))
        self._say(_counts(self._totals, f"all {len(self._rows)} runs"))


def _row(name: str, verdict: Verdict, excuses: Excused) -> str:
    """Write a run as a line of a table."""
    counts = verdict.counts
    return (
        f"| {name} | {counts['faults']} ({counts['kinds of faults']}) "
        f"| {counts['publications acknowledged']:,} | {counts['deliveries']:,} "
        f"| {counts['late deliveries excused']:,} | {excuses.any / (excuses.total or 1):.1%} "
        f"| {len(verdict.violations)} |"
    )


def _verdict(events: Sequence[Event], verdict: Verdict) -> str:
    lines = [_counts(verdict.counts, "checked"), f"violations: {len(verdict.violations)}"]
    rules = Counter(f"promise {one.promise}, {one.rule}" for one in verdict.violations)
    lines += [f"  {rule}: {count}" for rule, count in rules.most_common(_SHOWN)]
    first = verdict.first
    if first is not None:
        lines += [
            f"first: promise {first.promise}, {first.rule}: {first.text}",
            f"  client {first.client or '-'}, channel {first.channel or '-'}",
            *(f"  {line}" for line in timeline(events, first)),
        ]
    return "\n".join(lines)


def _counts(counts: Counter[str], title: str) -> str:
    lines = (f"  {name}: {count}" for name, count in sorted(counts.items()))
    return "\n".join([f"{title}:", *lines])
