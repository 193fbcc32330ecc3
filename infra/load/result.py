"""What one process of a load test has measured, in a form that can be added up."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

# locust keeps two digits, so its 1,100 ms may be 1,149; ours are within half of this.
_PRECISION = 0.01
_WIDTH = math.log1p(_PRECISION)
_SMALLEST_MS = 0.001


class Histogram:
    """Durations in buckets that are one per cent wide.

    Args:
        buckets: Counts by bucket.
    """

    def __init__(self, buckets: Iterable[tuple[int, int]] = ()) -> None:
        self._buckets = Counter(dict(buckets))

    def add(self, milliseconds: float) -> None:
        """Count one."""
        self._buckets[round(math.log(max(milliseconds, _SMALLEST_MS)) / _WIDTH)] += 1

    def merge(self, other: Histogram) -> None:
        """Count those of another one."""
        self._buckets.update(other._buckets)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._buckets.total()

    def quantile(self, share: float) -> float:
        """Return the milliseconds that this share of all did not exceed; nan if there are none."""
        rank, below = share * self.count, 0
        for bucket, count in sorted(self._buckets.items()):
            below += count
            if below >= rank:
                return math.exp(bucket * _WIDTH)
        return math.nan

    def buckets(self) -> list[tuple[int, int]]:
        """Return counts by bucket."""
        return sorted(self._buckets.items())


@dataclass(slots=True)
class Sample:
    """A second of a process.

    Attributes:
        at: Seconds since the start.
        published: Messages confirmed in it.
        delivered: Messages received in it.
        cpu: Share of a core that the process had.
    """

    at: float
    published: int
    delivered: int
    cpu: float


@dataclass(slots=True)
class Result:
    """All that a process has measured.

    Attributes:
        started: Users that began.
        settled: Users that stayed to the end and settled up.
        nodes: Connections by gateway.
        published: Messages confirmed.
        delivered: Messages received.
        owed: Messages that had to be received.
        lost: Those that were not, by room.
        recovered: Messages that were made up for after a connection was lost.
        slow: Users that did not read.
        ended: Those of them whose connection the server ended.
        failures: All failures by their words, the lost messages too.
        samples: One a second.
        histograms: Durations by name.
    """

    started: int = 0
    settled: int = 0
    nodes: Counter[str] = field(default_factory=Counter)
    published: int = 0
    delivered: int = 0
    owed: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    slow: int = 0
    ended: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def measure(self, name: str, milliseconds: float) -> None:
        """Count a duration."""
        self.histograms.setdefault(name, Histogram()).add(milliseconds)

    def dump(self) -> str:
        """Write it down."""
        histograms = {name: one.buckets() for name, one in self.histograms.items()}
        samples = [asdict(sample) for sample in self.samples]
        plain = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(plain | {"histograms": histograms, "samples": samples})

    @classmethod
    def load(cls, text: str) -> Result:
        """Read what ``dump`` wrote."""
        plain = json.loads(text)
        histograms = {
            name: Histogram((bucket, count) for bucket, count in buckets)
            for name, buckets in plain.pop("histograms").items()
        }
        samples = [Sample(**sample) for sample in plain.pop("samples")]
        plain |= {name: Counter(plain[name]) for name in ("nodes", "lost", "failures")}
        return cls(**plain, samples=samples, histograms=histograms)
