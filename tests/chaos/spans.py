"""Stretches of time, and what is left between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Spans:
    """Stretches of time, joined where they touch.

    Args:
        spans: Beginning and end of each, in any order.
    """

    def __init__(self, spans: Iterable[tuple[float, float]] = ()) -> None:
        self._spans: list[tuple[float, float]] = []
        for begin, end in sorted(spans):
            if self._spans and begin <= self._spans[-1][1]:
                self._spans[-1] = self._spans[-1][0], max(end, self._spans[-1][1])
            else:
                self._spans.append((begin, end))
        self._begins = [begin for begin, _ in self._spans]

    @classmethod
    def union(cls, several: Iterable[Spans]) -> Spans:
        """Return what is within any of them."""
        return cls(span for spans in several for span in spans._spans)

    def holds(self, moment: float) -> bool:
        """Say whether a moment is within one."""
        at = bisect_right(self._begins, moment) - 1
        return at >= 0 and moment <= self._spans[at][1]

    def meets(self, begin: float, end: float) -> bool:
        """Say whether one has a part of this stretch."""
        at = bisect_right(self._begins, end) - 1
        return at >= 0 and self._spans[at][1] >= begin

    def covered(self, begin: float, end: float) -> float:
        """Return how much of this stretch is within them."""
        return sum(max(0.0, min(last, end) - max(first, begin)) for first, last in self._spans)

    def longest_gap(self, begin: float, end: float) -> float:
        """Return the longest time without one, from ``begin`` to ``end``."""
        longest, clear = 0.0, begin
        for first, last in self._spans:
            if last < clear:
                continue
            if first >= end:
                break
            longest = max(longest, first - clear)
            clear = max(clear, last)
        return max(longest, end - clear)
