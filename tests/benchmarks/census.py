"""What servers hold at one moment, and whether it is gone again afterwards: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.report import Row

PREFIX = "drawbridge:1:"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Census:
    """One look at all servers.

    Attributes:
        at: Seconds, by the monotonic clock.
        memory: Bytes of each part.
        files: Open descriptors of each part.
        cpu: Seconds of CPU that each part has used.
        gauges: Of each gateway, by the metric's name and label.
        keys: In Redis, by kind.
    """

    at: float
    memory: Mapping[str, int]
    files: Mapping[str, int]
    cpu: Mapping[str, float]
    gauges: Mapping[str, Mapping[str, float]]
    keys: Mapping[str, int] = field(default_factory=dict)


def kind(key: str) -> str:
    """Return what a key in Redis is for, without whose it is."""
    return key.removeprefix(PREFIX).partition("{")[0].rstrip(":")


def kinds(keys: Iterable[str]) -> Counter[str]:
    """Count keys by their kind."""
    return Counter(kind(key) for key in keys)


def remaining(
    before: Census, after: Census, *, files: int, entries: Mapping[str, float]
) -> list[str]:
    """Say what is more than it was, memory apart.

    Args:
        before: Without clients.
        after: Again without.
        files: Further descriptors that a part may have, for connections kept for later.
        entries: How many may be left of a gauge.
    """
    found = [
        f"{part}: {count - before.files[part]} more descriptors"
        for part, count in after.files.items()
        if count > before.files[part] + files
    ]
    for gateway, gauges in after.gauges.items():
        found += [
            f"{gateway}: {name} {value:g}"
            for name, value in gauges.items()
            if value > max(before.gauges[gateway].get(name, 0.0), entries.get(name, 0.0))
        ]
    found += [
        f"Redis: {count - before.keys.get(name, 0)} more keys {name}"
        for name, count in after.keys.items()
        if count > before.keys.get(name, 0)
    ]
    return found


def rows(looks: Sequence[Census], *, settled: int, most_growth: float) -> list[Row]:
    """Write down what there was before, with all clients, and after.

    Args:
        looks: The first one before, the last one after, those between with all clients.
        settled: Which look is the first at which everything has been used once.
        most_growth: Bytes that a part's memory may grow by from then on.
    """
    before, after = looks[0], looks[-1]
    table = []
    for part in before.memory:
        grown = after.memory[part] - looks[settled].memory[part]
        span = [look.memory[part] / MIB for look in looks[1:-1]]
        table.append(
            Row(
                f"{part}: memory before; with all; after",
                f"{before.memory[part] / MIB:.1f}; {min(span):.1f} to {max(span):.1f}; "
                f"{after.memory[part] / MIB:.1f} MiB",
                grown <= most_growth,
                f"≤ {most_growth / MIB:g} MiB more than after a third of the time",
            )
        )
    table += [
        _course(f"{part}: descriptors", [float(look.files[part]) for look in looks])
        for part in before.files
    ]
    table += [
        _course(
            f"{name}, all gateways",
            [sum(gateway.get(name, 0.0) for gateway in look.gauges.values()) for look in looks],
        )
        for name in sorted(next(iter(after.gauges.values())))
    ]
    table += [
        _course(f"keys {name} in Redis", [float(look.keys.get(name, 0)) for look in looks])
        for name in sorted({name for look in looks for name in look.keys})
    ]
    return table


def _course(what: str, values: Sequence[float]) -> Row:
    figure = f"{values[0]:g}; {max(values[1:-1]):g}; {values[-1]:g}"
    return Row(f"{what}: before; at most; after", figure, True, "")
