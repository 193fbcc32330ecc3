"""What processes have used, by the kernel's accounts, and the arithmetic of repeated runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import cpu_seconds, rss_bytes


def family(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds, user and system, of processes and their descendants.

    Of threads that have ended since, nothing is known where the scheduler's accounts are read; the
    servers that are measured keep theirs.
    """
    return sum(_cpu_of(one) for pid in pids for one in family(pid))


def _cpu_of(pid: int) -> float:
    # To the nanosecond; where the kernel was built without that, in ticks of its clock.
    try:
        threads = [
            (thread / "schedstat").read_text("ascii")
            for thread in Path(f"/proc/{pid}/task").iterdir()
        ]
    except FileNotFoundError:
        return cpu_seconds(pid)
    return sum(int(thread.split()[0]) for thread in threads) / 1e9


def rss_of(pids: Iterable[int]) -> int:
    """Return the bytes of memory of processes and their descendants."""
    return sum(rss_bytes(one) for pid in pids for one in family(pid))


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing.

    Attributes:
        median: The one in the middle.
        low: The least.
        high: The most.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up; there must be some."""
        return cls(statistics.median(values), min(values), max(values))

    def words(self, unit: str = "", *, scale: float = 1.0, digits: int = 1) -> str:
        """Write it down: the median, and in brackets the range if there is one."""
        middle = f"{self.median * scale:,.{digits}f}"
        low, high = (f"{value * scale:,.{digits}f}" for value in (self.low, self.high))
        ends = "" if low == high else f" ({low}-{high})"
        return f"{middle}{unit}{ends}"


def ratios(figures: Sequence[float], floors: Sequence[float]) -> Spread:
    """Compare runs that took turns, each with the one beside it."""
    return Spread.of([figure / floor for figure, floor in zip(figures, floors, strict=True)])


def merged(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Add up histograms, so that percentiles are of all together and no mean of percentiles."""
    total: dict[int, int] = {}
    for histogram in histograms:
        for value, count in histogram.items():
            total[value] = total.get(value, 0) + count
    return total


def percentile(histogram: Mapping[int, int], share: float) -> int:
    """Return the value that this share of all does not exceed (nearest rank)."""
    left = share * sum(histogram.values())
    for value, count in sorted(histogram.items()):
        left -= count
        if left <= 0:
            return value
    return max(histogram, default=0)
