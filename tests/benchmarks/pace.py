"""How many things happened in the busiest stretch of time: pure."""

from __future__ import annotations

from collections.abc import Mapping


def busiest(counts: Mapping[int, int], window: int) -> float:
    """Return the most that happened in a second, in the mean over so many seconds in a row.

    Args:
        counts: How many in each second; seconds without any need not be there.
        window: Seconds, at least 1.
    """
    if not counts:
        return 0.0
    first, last = min(counts), max(counts)
    return max(
        sum(counts.get(second, 0) for second in range(start, start + window)) / window
        for start in range(first, last + 1)
    )


def course(counts: Mapping[int, int], first: int, last: int) -> list[float]:
    """Return the counts of all seconds from the first to the last one."""
    return [float(counts.get(second, 0)) for second in range(first, last + 1)]
