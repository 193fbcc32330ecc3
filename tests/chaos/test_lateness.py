"""What is late without a cause, judged on histories that are a few lines long."""

from __future__ import annotations

import pytest

from tests.chaos.circumstances import Circumstances
from tests.chaos.history import (
    CUT,
    Closed,
    Connected,
    Down,
    Event,
    Fault,
    Lag,
    Received,
    Sent,
    Subscribed,
)
from tests.chaos.lateness import check_lateness, excused, excuses_table
from tests.chaos.schedule import Kind

CHANNEL = "kept:1"


def rules(*events: Event) -> list[str]:
    """Return what was broken."""
    history = sorted(events, key=lambda event: event.at)
    return [one.rule for one in check_lateness(history, Circumstances(history)).violations]


def late(took: float, client: str = "a") -> list[Event]:
    """Have something sent at 10 come late to a client of the first gateway."""
    return [
        Connected(1, client, "gateway-0"),
        Subscribed(1.1, client, CHANNEL, "e", 0, False, False),
        Connected(1, "speaker", "gateway-1"),
        Subscribed(1.1, "speaker", CHANNEL, "e", 0, False, False),
        Received(1.2, client, CHANNEL, 1, "o", 1.2),
        Sent(10, "speaker", CHANNEL, "p"),
        Received(10 + took, client, CHANNEL, 2, "p", 10),
        Sent(60, "speaker", CHANNEL, "q"),
    ]


def pause(gateway: str, began: float, ended: float) -> Down:
    """Have a gateway stand still."""
    return Down(began, gateway, ended, Kind.GATEWAY_PAUSE.value)


def test_a_stall_without_a_cause_is_found() -> None:
    """Whatever happens long before or after it."""
    assert rules(*late(1.5)) == []
    assert rules(*late(3)) == ["late"]
    assert rules(*late(3), pause("gateway-0", 2, 4), pause("gateway-0", 30, 33)) == ["late"]


@pytest.mark.parametrize("gateway", ["gateway-0", "gateway-1", "gateway-2"])
def test_a_fault_excuses_who_was_there(gateway: str) -> None:
    """Who listens at that gateway, and who hears from one that speaks there."""
    found = rules(*late(4), pause(gateway, 9, 13.5))

    assert found == (["late"] if gateway == "gateway-2" else [])


def test_a_fault_excuses_until_something_new_has_come() -> None:
    """What was sent after its end is there: what comes later has no cause."""
    live = Received(13.8, "a", CHANNEL, 2, "n", 13.7)

    assert rules(*late(6), pause("gateway-0", 9, 13.5)) == []
    assert rules(*late(7), live, pause("gateway-0", 9, 13.5)) == ["late"]


def test_a_fault_does_not_excuse_for_ever() -> None:
    """Even if nothing new comes at all."""
    assert rules(*late(12), pause("gateway-0", 9, 13.5)) == ["late"]


def test_redis_excuses_all_and_one_way_to_it_the_clients_of_that_gateway() -> None:
    """And the client's own network those who go through it."""
    redis = Fault(9, 13, 13, Kind.REDIS_PAUSE.value, "redis")
    other = Fault(9, 13, 13, Kind.REDIS_CUT.value, "link of gateway-2")
    network = Fault(9, 13, 13, Kind.CLIENT_CUT.value, "some clients")

    assert rules(*late(4), redis) == []
    assert rules(*late(4), other) == ["late"]
    assert rules(*late(4), network) == ["late"]
    assert rules(*late(4, "a-rough"), network) == []


def test_a_process_that_did_not_run_excuses_its_own_clients_for_that_long() -> None:
    """One of everybody's networks excuses everybody."""
    assert rules(*late(4, "python-0-a"), Lag(14, "python-0", 3)) == []
    assert rules(*late(4, "python-0-a"), Lag(14, "python-1", 3)) == ["late"]
    assert rules(*late(4), Lag(14, "", 3)) == []
    assert rules(*late(4), Lag(14, "gateway-0", 3)) == []
    assert rules(*late(4), Lag(14, "gateway-2", 3)) == ["late"]


def test_nothing_excuses_half_a_minute() -> None:
    """Whatever there was."""
    assert rules(*late(31), pause("gateway-0", 9, 40.5)) == ["late"]


def gone(seconds: float) -> list[Event]:
    """Have a socket cut at 10, and come again."""
    return [
        Connected(1, "a", "gateway-0"),
        Subscribed(1.1, "a", CHANNEL, "e", 0, False, False),
        Closed(10, "a", CUT),
        Connected(10 + seconds - 0.1, "a", "gateway-1"),
        Subscribed(10 + seconds, "a", CHANNEL, "e", 1, True, True),
        Sent(60, "speaker", CHANNEL, "q"),
    ]


def test_who_was_cut_comes_again_soon() -> None:
    """Unless something is in its way, and never later than half a minute."""
    restart = Fault(9, 14, 14, Kind.AUTH_RESTART.value, "auth")
    rotation = Fault(9, 14, 14, Kind.KEY_ROTATION.value, "auth")
    long = Fault(9, 45, 45, Kind.AUTH_RESTART.value, "auth")

    assert rules(*gone(3)) == []
    assert rules(*gone(6)) == ["away"]
    assert rules(*gone(6), restart) == []
    assert rules(*gone(6), rotation) == ["away"]
    assert rules(*gone(31), long) == ["away"]


def test_who_never_comes_again_is_missed() -> None:
    """Though there is no end to it in the history."""
    history = [event for event in gone(3) if event.at <= 10 or isinstance(event, Sent)]

    assert rules(*history) == ["away"]


def test_what_is_excused_is_counted() -> None:
    """By kind, and once for all kinds together."""
    history = sorted(
        [*late(4), pause("gateway-0", 9, 13.5), Lag(13.5, "a", 1.0)], key=lambda event: event.at
    )

    found = excused(history, Circumstances(history))

    assert found.deliveries == 2
    assert found.late == {"gateway paused": 1, "a process that did not run": 1}
    assert found.total == 2 * (60 - 10)
    assert found.seconds["a process that did not run"] == 1
    assert found.seconds["gateway paused"] == 13.5 + 5 - 10
    assert found.any == 13.5 + 5 - 10
    assert "| gateway paused | 8.5% | 1 |" in excuses_table([found])
