"""How late the event loop is."""

from __future__ import annotations

from tests.ws_gateway.conftest import FakeLoop
from ws_gateway.loop_lag import INTERVAL_SECONDS, LoopLag


def counts(lag: LoopLag) -> dict[str, float]:
    """Return how many lags there were up to each bound."""
    return dict(lag.seconds.read()[0])


def test_loop_in_time_has_no_lag(fake_loop: FakeLoop) -> None:
    """It is asked again and again."""
    lag = LoopLag(fake_loop.loop)
    lag.start()

    fake_loop.advance(4.5 * INTERVAL_SECONDS)

    assert counts(lag)["0.001"] == counts(lag)["+Inf"] == 4


def test_loop_that_stands_still_is_late(fake_loop: FakeLoop) -> None:
    """By what is left of the pause when the timer was due."""
    lag = LoopLag(fake_loop.loop)
    lag.start()
    (alarm,) = fake_loop.alarms
    fake_loop.alarms.clear()
    fake_loop.now += INTERVAL_SECONDS + 0.3

    alarm.callback()

    assert counts(lag)["0.25"] == 0
    assert counts(lag)["0.5"] == 1


def test_nothing_rings_after_the_end(fake_loop: FakeLoop) -> None:
    """A second end is none."""
    lag = LoopLag(fake_loop.loop)
    lag.start()
    lag.stop()
    lag.stop()

    assert not fake_loop.alarms
