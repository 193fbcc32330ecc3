"""A rate that one process counts for itself, in memory: for what must write nothing."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from auth_service.exceptions import TooManyAttempts
from auth_service.metrics import Metrics

_MINUTE_SECONDS = 60.0
#: More callers than that are not told apart: the one that was quiet longest is forgotten.
MAX_CALLERS = 4_096


class Throttle:
    """Refuses a caller whose attempts were in vain too often (GCRA: N in a minute, N at once).

    With several processes each lets as much through. That will do where nothing can be guessed
    anyhow, and who asks has proved who he is.

    Args:
        kind: The refusals' label in the metrics.
        per_minute: How often; 0: any number.
        metrics: Where refusals are counted.
        clock: Seconds since 1970.
    """

    def __init__(
        self, kind: str, *, per_minute: int, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._kind = kind
        self._interval = _MINUTE_SECONDS / per_minute if per_minute else 0.0
        self._metrics = metrics
        self._clock = clock
        # When the next attempt would be on time, had they come evenly.
        self._arrivals: dict[str, float] = {}

    def check(self, caller: str) -> None:
        """See whether a caller may try.

        Raises:
            TooManyAttempts: Too many attempts were in vain.
        """
        wait = self._arrivals.get(caller, 0.0) + self._interval - self._clock() - _MINUTE_SECONDS
        # A longer wait than a whole minute comes of a clock that was set back.
        if self._interval and 0 < wait <= _MINUTE_SECONDS:
            self._metrics.rate_limited.labels(kind=self._kind).inc()
            raise TooManyAttempts(retry_after_seconds=ceil(wait))

    def count(self, caller: str) -> None:
        """Note that an attempt was in vain."""
        if not self._interval:
            return
        now = self._clock()
        # Taken out first, so that the order of the entries is that of their last use.
        arrival = self._arrivals.pop(caller, now)
        if not now <= arrival <= now + 2 * _MINUTE_SECONDS:
            arrival = now
        while len(self._arrivals) >= MAX_CALLERS:
            del self._arrivals[next(iter(self._arrivals))]
        self._arrivals[caller] = arrival + self._interval
