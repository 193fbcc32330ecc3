"""What sockets tell, judged on histories that are a few lines long."""

from __future__ import annotations

import pytest

from tests.chaos.circumstances import Circumstances
from tests.chaos.history import (
    CUT,
    LEFT,
    Begun,
    Closed,
    Connected,
    Down,
    Drained,
    Event,
    Fault,
    Lag,
    Received,
    Revoked,
    Slow,
    SlowCut,
    Unready,
    Unsubscribed,
)
from tests.chaos.schedule import Kind
from tests.chaos.sockets import SLOW_BYTES, check_sockets

CHANNEL = "kept:1"


def rules(*events: Event) -> list[str]:
    """Return what was broken."""
    history = sorted(events, key=lambda event: event.at)
    verdict = check_sockets(history, Circumstances(history))
    return [violation.rule for violation in verdict.violations]


def fault(kind: Kind, began: float, ended: float) -> Fault:
    """Make a fault that was well again at once."""
    return Fault(began, ended, ended, kind.value)


def delivery(sent: float) -> list[Event]:
    """Have a socket whose token is revoked at 10, and get what was sent then."""
    return [
        Connected(1, "v", "", "token"),
        Revoked(10, "token", "jti"),
        Received(sent + 0.1, "v", CHANNEL, 1, "p", sent),
    ]


def test_delivery_within_a_second_of_the_revocation_is_right() -> None:
    """That long the gateway may take to read it."""
    assert rules(*delivery(10.9)) == []


def test_delivery_after_a_second_is_late() -> None:
    """By when it was sent: the client's own delay is none of the gateway's."""
    assert rules(*delivery(11.2)) == ["revocation"]


@pytest.mark.parametrize(
    "cause",
    [
        fault(Kind.REDIS_CUT, 9, 13),
        Down(9, "gateway-0", 13, Kind.GATEWAY_PAUSE.value),
    ],
    ids=["log", "pause"],
)
def test_delivery_while_the_log_could_not_be_read_is_right(cause: Event) -> None:
    """The promise is for a log that can be read."""
    assert rules(*delivery(13), cause) == []


def test_delivery_while_a_gateway_says_that_it_cannot_read_is_right() -> None:
    """Whatever the reason."""
    unready = Unready(10.5, "gateway-0", ("revocations",))
    again = Unready(14, "gateway-0", ())

    assert rules(*delivery(13), unready, again) == []
    assert rules(*delivery(18), unready, again) == ["revocation"]


def test_a_revoked_token_opens_no_door() -> None:
    """A connection that was made long after."""
    assert rules(Revoked(10, "token", "sid"), Connected(14, "v", "", "token")) == ["revocation"]


def test_a_connection_with_a_new_token_may_get_everything() -> None:
    """The client is the same."""
    events = [*delivery(10.5), Closed(11, "v", 3005), Connected(12, "v", "", "another")]

    assert rules(*events, Received(20, "v", CHANNEL, 2, "q", 20)) == []


def test_a_close_without_a_code_is_found() -> None:
    """Nothing was killed."""
    assert rules(Closed(10, "a", CUT)) == ["close"]


@pytest.mark.parametrize("kind", [Kind.GATEWAY_KILL, Kind.CLIENT_CUT])
def test_a_close_without_a_code_has_a_cause(kind: Kind) -> None:
    """A process that was killed says nothing any more."""
    assert rules(Closed(10, "a", CUT), fault(kind, 9, 11)) == []


@pytest.mark.parametrize("kind", [Kind.NGINX_RELOAD, Kind.GATEWAY_TERM, Kind.REDIS_RESTART])
def test_a_close_without_a_code_is_not_caused_by_this(kind: Kind) -> None:
    """These leave a gateway that can speak."""
    assert rules(Closed(10, "a", CUT), fault(kind, 9, 11)) == ["close"]


def test_a_close_with_a_code_that_nobody_expects_is_found() -> None:
    """An internal error, say."""
    assert rules(Closed(10, "a", 3004)) == ["close"]


@pytest.mark.parametrize("code", [3005, LEFT])
def test_a_close_with_a_code_is_right(code: int) -> None:
    """Or one of the client's own."""
    assert rules(Closed(10, "a", code)) == []


def test_only_a_gateway_that_was_asked_to_stop_says_that_it_does() -> None:
    """And it says so to its own clients."""
    told: list[Event] = [Connected(1, "a", "gateway-0"), Closed(10, "a", 3001)]
    term = Kind.GATEWAY_TERM.value

    assert rules(*told) == ["close"]
    assert rules(*told, Down(9.5, "gateway-1", 12, term)) == ["close"]
    assert rules(*told, Down(9.5, "gateway-0", 12, term)) == []
    assert rules(*told, Down(2, "gateway-0", 4, term)) == ["close"]


def test_a_kill_cuts_the_sockets_of_that_gateway_only() -> None:
    """Another one's have no cause."""
    cut: list[Event] = [Connected(1, "a", "gateway-0"), Closed(10, "a", CUT)]
    kill = Kind.GATEWAY_KILL.value

    assert rules(*cut, Down(9.5, "gateway-0", 12, kill)) == []
    assert rules(*cut, Down(9.5, "gateway-1", 12, kill)) == ["close"]


def test_a_bad_network_cuts_only_sockets_that_are_in_it() -> None:
    """The others go another way."""
    cut = Fault(9, 11, 11, Kind.CLIENT_CUT.value, "some clients")

    assert rules(Closed(10, "a-rough", CUT), cut) == []
    assert rules(Closed(10, "a", CUT), cut) == ["close"]


def test_who_reads_is_not_called_slow() -> None:
    """A reader that stopped costs nobody else his socket."""
    assert rules(Closed(10, "a", 3008)) == ["close"]


def test_a_socket_ends_with_its_token() -> None:
    """A clock that is wrong, and time to renew it, are in the bound."""
    assert rules(Connected(1, "a", "", "token"), Closed(80, "a", 3005)) == []
    assert rules(Connected(1, "a", "", "token"), Closed(130, "a", 3005)) == ["close"]
    assert rules(Connected(1, "sdk"), Closed(130, "sdk", 3005)) == []


def test_a_lost_pong_needs_a_standstill() -> None:
    """Whoever answers pings is not closed for not answering them."""
    assert rules(Closed(10, "a", 3012)) == ["close"]
    assert rules(Closed(10, "python-0-a", 3012), Lag(9.5, "python-0", 6)) == []
    assert rules(Closed(10, "python-1-a", 3012), Lag(9.5, "python-0", 6)) == ["close"]


def test_a_slow_reader_is_cut() -> None:
    """Each needs a cut of its own."""
    assert rules(Slow(10, "slow-1-0"), SlowCut(14, "gateway-0")) == []
    assert rules(Slow(10, "slow-1-0")) == ["slow reader"]
    assert rules(Slow(10, "a"), Slow(10, "b"), SlowCut(14, "gateway-0")) == ["slow reader"]


def test_a_cut_is_of_a_reader_at_that_gateway() -> None:
    """The first of the readers was excused, and does not take the other's."""
    told = (
        Connected(1, "slow-1-1", "gateway-0"),
        Connected(1, "slow-1-0", "gateway-1"),
        Slow(10, "slow-1-1"),
        Slow(10.1, "slow-1-0"),
        Down(13, "gateway-0", 14, Kind.GATEWAY_KILL.value),
    )

    assert rules(*told, SlowCut(14, "gateway-1")) == []
    assert rules(*told, SlowCut(14, "gateway-0")) == ["slow reader"]


@pytest.mark.parametrize("gateway", ["gateway-0", "gateway-1", "gateway-2"])
def test_a_slow_reader_whose_gateway_or_speaker_was_stopped_may_stay(gateway: str) -> None:
    """Another gateway's end is no reason."""
    found = rules(
        Connected(1, "slow-1-0", "gateway-0"),
        Connected(1, "slow-1-speaker", "gateway-1"),
        Slow(10, "slow-1-0"),
        Down(12, gateway, 14, Kind.GATEWAY_KILL.value),
    )

    assert found == (["slow reader"] if gateway == "gateway-2" else [])


def test_a_slow_reader_costs_no_more_than_a_bound() -> None:
    """What was waiting for it is what it read afterwards."""
    assert rules(Drained(10, "slow-1-0", SLOW_BYTES)) == []
    assert rules(Drained(10, "slow-1-0", SLOW_BYTES + 1)) == ["slow reader"]


@pytest.mark.parametrize("event", [Unsubscribed(10, "a", CHANNEL, 2500), Closed(10, "a", 3010)])
def test_nobody_is_told_of_a_gap_that_there_is_not(event: Event) -> None:
    """A Redis that comes back with its data."""
    assert rules(event, fault(Kind.REDIS_RESTART, 5, 9)) == ["told without cause"]
    assert rules(event, fault(Kind.REDIS_EMPTY, 5, 9)) == []


def test_a_fault_that_the_run_did_not_outlast_explains_what_followed() -> None:
    """Faults are noted whole once they are healed; a run that fails has some that never were."""
    cut = Closed(5.0, "one", CUT)

    assert rules(cut) == ["close"]
    assert rules(Begun(4.0, Kind.GATEWAY_KILL), cut) == []


def test_a_fault_that_ended_explains_nothing_later() -> None:
    """Its beginning alone would go on for ever."""
    begun, whole = Begun(4.0, Kind.GATEWAY_KILL), fault(Kind.GATEWAY_KILL, 4.0, 5.0)

    assert rules(begun, whole, Closed(30.0, "one", CUT)) == ["close"]
