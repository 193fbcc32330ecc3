"""A rate in memory."""

from __future__ import annotations

import pytest

from auth_service.exceptions import TooManyAttempts
from auth_service.metrics import Metrics
from auth_service.throttle import MAX_CALLERS, Throttle
from tests.auth_service.conftest import Clock


def throttle(clock: Clock, per_minute: int = 3, metrics: Metrics | None = None) -> Throttle:
    """Make one."""
    return Throttle(
        "introspection", per_minute=per_minute, metrics=metrics or Metrics(), clock=clock
    )


def allowed(subject: Throttle, caller: str) -> int:
    """Count how many attempts in vain pass at once."""
    for count in range(1_000):
        try:
            subject.check(caller)
        except TooManyAttempts:
            return count
        subject.count(caller)
    return 1_000


def test_as_many_as_allowed_pass_at_once_and_come_back_evenly(clock: Clock) -> None:
    """Three a minute: one every twenty seconds afterwards."""
    subject = throttle(clock)

    assert allowed(subject, "shop") == 3
    with pytest.raises(TooManyAttempts) as refused:
        subject.check("shop")
    assert refused.value.headers == {"Retry-After": "20"}
    clock.now += 20
    assert allowed(subject, "shop") == 1
    clock.now += 600
    assert allowed(subject, "shop") == 3


def test_each_caller_counts_for_himself(clock: Clock) -> None:
    """One that guesses does not silence another one; refusals are counted."""
    metrics = Metrics()
    subject = throttle(clock, metrics=metrics)

    assert [allowed(subject, "shop"), allowed(subject, "bank")] == [3, 3]
    labels = {"kind": "introspection"}
    assert metrics.registry.get_sample_value("auth_rate_limited_total", labels) == 2


def test_good_attempts_are_free(clock: Clock) -> None:
    """Only what is counted counts."""
    subject = throttle(clock, per_minute=1)

    for _ in range(100):
        subject.check("shop")

    assert allowed(subject, "shop") == 1


def test_nought_is_no_limit(clock: Clock) -> None:
    """And keeps nothing."""
    subject = throttle(clock, per_minute=0)

    assert allowed(subject, "shop") == 1_000
    assert not subject._arrivals


def test_a_clock_that_was_set_back_refuses_nobody_for_long(clock: Clock) -> None:
    """At most a minute."""
    subject = throttle(clock)
    allowed(subject, "shop")

    clock.now -= 3_600

    assert allowed(subject, "shop") == 3


def test_callers_are_forgotten_before_they_are_too_many(clock: Clock) -> None:
    """The map is bounded; whoever was quiet longest goes first."""
    subject = throttle(clock)
    for number in range(MAX_CALLERS):
        subject.count(str(number))
    subject.count("0")

    subject.count("one more")

    assert len(subject._arrivals) == MAX_CALLERS
    assert "0" in subject._arrivals
    assert "1" not in subject._arrivals
