"""What the tables of the gateway have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.gateway.accounting import Spread
from tests.benchmarks.report import Row

MICRO = 1e6
MILLI = 1e3


@dataclass(slots=True)
class Table:
    """A table, and what may be drawn beneath it.

    Attributes:
        title: Its heading.
        rows: Its figures.
        bars: CPU seconds by name, drawn as bars if there are any.
        waits: Seconds by name, drawn as curves if there are any.
        allowed: Seconds that the curves may take.
    """

    title: str
    rows: list[Row] = field(default_factory=list)
    bars: dict[str, Spread] = field(default_factory=dict)
    waits: dict[str, Sequence[float]] = field(default_factory=dict)
    allowed: float = 1.0


def share(shares: Sequence[float]) -> str:
    """Say how busy the load generator was."""
    return f"generator {Spread.of(shares).median:.0%} of a core"
