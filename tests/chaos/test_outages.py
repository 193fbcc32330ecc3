"""What is said while Redis is away, judged on histories that are a few lines long."""

from __future__ import annotations

import pytest

from tests.chaos.circumstances import Circumstances
from tests.chaos.history import Answered, Connected, Down, Event, Fault, Lag, Sent, Unready
from tests.chaos.outages import check_outages
from tests.chaos.schedule import Kind
from tests.chaos.verdict import Verdict

CHANNEL = "kept:1"


def judge(*events: Event) -> Verdict:
    """Judge a history."""
    history = sorted(events, key=lambda event: event.at)
    return check_outages(history, Circumstances(history))


def rules(*events: Event) -> list[str]:
    """Return what was broken."""
    return [violation.rule for violation in judge(*events).violations]


def publication(code: int, took: float, at: float = 10) -> list[Event]:
    """Publish, and be answered, on a socket that was there before and is there afterwards."""
    return [
        Connected(1, "a", "gateway-0"),
        Sent(at, "a", CHANNEL, "p"),
        Answered(at + took, "a", "p", code),
    ]


def outage(kind: Kind, began: float, ended: float, target: str = "redis") -> Fault:
    """Have one that was well again at once."""
    return Fault(began, ended, ended, kind.value, target)


def test_an_answer_comes_in_time() -> None:
    """Whatever it says, and whether Redis is there or not."""
    assert rules(*publication(100, 1)) == []
    assert rules(*publication(100, 4)) == ["answer"]
    assert "answer" in rules(*publication(100, 4), outage(Kind.REDIS_SILENT, 9, 13))


@pytest.mark.parametrize("gateway", ["gateway-0", "gateway-1"])
def test_an_answer_may_wait_for_a_gateway_that_stands(gateway: str) -> None:
    """For the one that it was asked of."""
    down = Down(9, gateway, 13, Kind.GATEWAY_PAUSE.value)

    assert rules(*publication(100, 4), down) == ([] if gateway == "gateway-0" else ["answer"])


def test_an_answer_may_wait_for_a_client_that_did_not_run() -> None:
    """For so long, and of that process only."""
    assert rules(*publication(0, 4), Lag(13, "a", 2)) == []
    assert rules(*publication(0, 4), Lag(13, "b", 2)) == ["answer"]


@pytest.mark.parametrize(
    "kind", [Kind.REDIS_RESTART, Kind.REDIS_PAUSE, Kind.REDIS_CUT, Kind.REDIS_SILENT]
)
def test_nothing_is_acknowledged_while_there_is_no_redis(kind: Kind) -> None:
    """Both sent and answered while it was away."""
    told = Unready(9.2, "gateway-0", ("broker",))

    assert rules(*publication(0, 1), outage(kind, 9, 13), told) == ["answer"]
    assert rules(*publication(100, 1), outage(kind, 9, 13), told) == []
    assert rules(*publication(103, 1), outage(kind, 9, 13), told) == ["answer"]


def test_a_gateway_whose_way_is_open_acknowledges() -> None:
    """It is another one's that was cut."""
    cut = outage(Kind.REDIS_CUT, 9, 13, "link of gateway-1")

    assert rules(*publication(0, 1), cut) == []


def test_a_redis_that_is_back_acknowledges() -> None:
    """Though nobody has noted yet that it is."""
    restart = Fault(9, 13, 13, Kind.REDIS_RESTART.value, "redis", 10.5)
    told = Unready(9.2, "gateway-0", ("broker",))

    assert rules(*publication(0, 1), restart, told) == []


def test_a_gateway_without_redis_is_not_ready() -> None:
    """It says so before Redis is back, for it sees at once that its sockets are gone."""
    there = Connected(1, "a", "gateway-0")
    restart = outage(Kind.REDIS_RESTART, 9, 13)

    assert rules(there, restart) == ["not told"]
    assert rules(there, restart, Unready(9.2, "gateway-0", ("broker",))) == []
    assert rules(there, restart, Unready(8, "gateway-0", ("silent",))) == []
    assert rules(there, restart, Unready(18, "gateway-0", ("broker",))) == ["not told"]


def test_sockets_that_outlast_an_outage_are_counted() -> None:
    """They are what was promised."""
    verdict = judge(*publication(100, 1), outage(Kind.REDIS_PAUSE, 9, 13))

    assert verdict.counts["sockets that outlasted Redis' absence"] == 1
    assert verdict.counts["answers while Redis was away"] == 1
