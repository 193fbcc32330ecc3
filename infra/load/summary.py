"""The results of all processes as a table, and the verdict."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.load.result import Histogram, Result, Sample
from infra.load.settings import SLOW, STORM, Plan

MEASURES = ("connect", "subscribe", "publish", "delivery")
# Of some scenarios: from being cut off to being back, and between two parts of a stream.
_MORE = ("return", "gap")
_SHOWN_FAILURES = 8
# Above this a generator measures itself.
_BUSY = 0.8
_TOO_MANY = "429"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a load test came to.

    Attributes:
        plan: What was asked for.
        results: One of each process that gave one.
        machine: Share of this machine's cores that was in use, by whomever.
    """

    plan: Plan
    results: Sequence[Result]
    machine: float

    def problems(self) -> list[str]:
        """Return why the test has failed; nothing if it has not."""
        users = sum(result.started for result in self.results)
        settled = sum(result.settled for result in self.results)
        found = []
        if len(self.results) < self.plan.workers:
            found.append(f"{self.plan.workers - len(self.results)} processes left no result")
        if users < self.plan.users:
            found.append(f"{self.plan.users - users} users did not start")
        if settled < users:
            found.append(f"{users - settled} users were not there at the end")
        if not sum(result.owed for result in self.results):
            found.append("no message was owed to anybody, so none could be lost")
        failures = self._failures()
        found += [f"{count} times {text}" for text, count in failures.most_common(_SHOWN_FAILURES)]
        if len(failures) > _SHOWN_FAILURES:
            found.append(f"and {len(failures) - _SHOWN_FAILURES} other kinds of failure")
        if any(_TOO_MANY in text for text in failures):
            found.append("the front limits handshakes; first: make up LIMITS=load")
        return found

    def text(self) -> str:
        """Write it for people."""
        plan = self.plan
        lines = [
            f"{plan.scenario}: {plan.users} users in rooms of {plan.room}, for {plan.seconds} s",
            f"{plan.rate} of them start in a second, each publishes every {plan.every:g} s",
            f"at {plan.host}",
            "",
            f"{'ms':<10}{'count':>10}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}",
            *(self._row(name) for name in (*MEASURES, *self._more())),
            "",
            f"connections    {self._connections()}",
            f"published      {self._sum('published')}, {self._rate('published')} a second",
            f"delivered      {self._sum('delivered')}, {self._rate('delivered')} a second",
            f"lost           {self._lost()} of {self._sum('owed')} that were owed",
            *(f"               {room}: {count}" for room, count in self._lost_rooms()),
            *self._scenario(),
            f"generator      {self._generator()}",
            f"machine        {self.machine:.0%} of all cores in use, by whomever",
        ]
        busiest = max((sample.cpu for sample in self._steady()), default=0)
        if busiest > _BUSY:
            lines.append("               the generator was busy: its waits are in the times above")
        return "\n".join([*lines, *(f"FAILED: {problem}" for problem in self.problems()), ""])

    def _more(self) -> list[str]:
        return [name for name in _MORE if any(name in one.histograms for one in self.results)]

    def _scenario(self) -> Iterable[str]:
        if self.plan.scenario == STORM:
            yield f"recovered      {self._sum('recovered')} messages, after everybody was cut off"
        if self.plan.scenario == SLOW:
            slow, ended = self._sum("slow"), self._sum("ended")
            yield f"not reading    {slow}, {ended} of them ended by the server"

    def _row(self, name: str) -> str:
        merged = Histogram()
        for result in self.results:
            merged.merge(result.histograms.get(name, Histogram()))
        times = "".join(f"{merged.quantile(share):>10.1f}" for share in (0.5, 0.95, 0.99, 1))
        return f"{name:<10}{merged.count:>10}{times}"

    def _connections(self) -> str:
        nodes: Counter[str] = Counter()
        for result in self.results:
            nodes.update(result.nodes)
        shares = " + ".join(str(count) for _, count in sorted(nodes.items()))
        return f"{nodes.total()}, by gateway: {shares or 'none'}"

    def _sum(self, name: str) -> int:
        return sum(getattr(result, name) for result in self.results)

    def _lost(self) -> int:
        return sum(result.lost.total() for result in self.results)

    def _lost_rooms(self) -> Iterable[tuple[str, int]]:
        lost: Counter[str] = Counter()
        for result in self.results:
            lost.update(result.lost)
        return lost.most_common(_SHOWN_FAILURES)

    def _failures(self) -> Counter[str]:
        failures: Counter[str] = Counter()
        for result in self.results:
            failures.update(result.failures)
        return failures

    def _steady(self, results: Iterable[Result] | None = None) -> list[Sample]:
        """Return the seconds in which all users were there."""
        return [
            sample
            for result in (self.results if results is None else results)
            for sample in result.samples
            if self.plan.steady_from <= sample.at <= self.plan.seconds
        ]

    def _rate(self, name: str) -> str:
        means = [
            statistics.fmean(getattr(sample, name) for sample in steady)
            for result in self.results
            if (steady := self._steady([result]))
        ]
        return f"{sum(means):.0f}"

    def _generator(self) -> str:
        shares = [
            f"{statistics.fmean(cpus):.0%} (highest second {max(cpus):.0%})"
            for result in self.results
            if (cpus := [sample.cpu for sample in self._steady([result])])
        ]
        return f"of a core, by process: {', '.join(shares) or 'not known'}"
