"""W: too many at once, against a gateway as a process.

After each of them ``Door.unharmed`` sees that nobody was harmed, and that every count is back
where it was. The limits count on one gateway: with several, a user or an address has as many on
each. That a gateway is not ready first, and answers 503 then, is W32 in
tests/ws_gateway/test_listeners.py and routes/test_websocket.py; with two processes of one machine
in test_workers.py.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attacks.door import Door, headers, status
from tests.ws_gateway.raw_server import request
from ws_gateway.routes.websocket import PATH

pytestmark = pytest.mark.integration

REFUSED = 'gateway_admissions_refused_total{{reason="{}"}}'


@pytest.fixture(scope="module")
def door_settings() -> dict[str, str]:
    """A gateway that lets few in of each."""
    return {
        "GATEWAY_MAX_CONNECTIONS_PER_USER": "3",
        "GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "6",
        "GATEWAY_MAX_UNAUTHENTICATED_PER_ADDRESS": "2",
    }


def knock(door: Door, stack: ExitStack, *lines: str, address: str) -> int:
    """Come to the door and stay; returns the status, and sees that a refusal names a time."""
    peer = stack.enter_context(door.peer(address=address))
    peer.send(request(PATH, *lines))
    head = peer.head()
    if status(head) != 101:
        assert int(headers(head)["retry-after"]) > 0
    return status(head)


@pytest.mark.parametrize("_round", [1, 2])
def test_w26_a_user_has_his_share_and_gets_it_again(door: Door, _round: int) -> None:
    """429 for the fourth, wherever he comes from; the second round finds all places free."""
    with (
        door.counts(REFUSED.format("user"), 2),
        door.counts('gateway_handshakes_total{result="rate_limited"}', 2),
        ExitStack() as stack,
    ):
        answers = [
            knock(door, stack, door.bearer("greedy"), address=f"127.0.0.{last}")
            for last in range(2, 7)
        ]

    assert answers == [101, 101, 101, 429, 429]


def test_w26_who_says_later_who_he_is_has_the_same_share(door: Door) -> None:
    """3504, by ``connect``."""
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(door.enter("greedy", address="127.0.0.2"))
        late = stack.enter_context(door.open(address="127.0.0.3"))
        with door.counts('gateway_disconnects_total{code="3504"}'):
            late.say({"id": 1, "connect": {"token": door.token("greedy")}})
            assert late.closed() == 3504


@pytest.mark.parametrize("_round", [1, 2])
def test_w26_an_address_has_its_share_and_gets_it_again(door: Door, _round: int) -> None:
    """429 for the seventh, whoever he is; others come in from elsewhere."""
    with door.counts(REFUSED.format("address"), 2), ExitStack() as stack:
        answers = [
            knock(door, stack, door.bearer(f"user{number}"), address="127.0.0.2")
            for number in range(8)
        ]
        elsewhere = knock(door, stack, door.bearer("user7"), address="127.0.0.3")

    assert answers == [101] * 6 + [429] * 2
    assert elsewhere == 101


@pytest.mark.parametrize("_round", [1, 2])
def test_w26_strangers_have_fewer(door: Door, _round: int) -> None:
    """429 for the third that has not said who he is; who shows a token still comes in."""
    with door.counts(REFUSED.format("unauthenticated")), ExitStack() as stack:
        answers = [knock(door, stack, address="127.0.0.2") for _ in range(3)]
        known = knock(door, stack, door.bearer("user"), address="127.0.0.2")

    assert (answers, known) == ([101, 101, 429], 101)


def test_w27_a_storm_is_let_in_at_an_even_pace(tmp_path: Path) -> None:
    """Who is too much hears when to come back; the issuer is asked for its keys once."""
    settings = {"GATEWAY_HANDSHAKES_PER_SECOND": "10", "GATEWAY_HANDSHAKES_BURST": "50"}
    door = Door(tmp_path, settings).start()
    answers: list[bytes] = []
    began = time.monotonic()
    with door.unharmed(), ExitStack() as stack:
        peers = [stack.enter_context(door.peer()) for _ in range(300)]
        for number, peer in enumerate(peers):
            peer.send(request(PATH, door.bearer(f"user{number}")))
        answers = [peer.head() for peer in peers]
        seconds = time.monotonic() - began
        came_in = Counter(map(status, answers))[101]
        waits = [int(headers(head)["retry-after"]) for head in answers if status(head) == 503]

        assert door.metrics(REFUSED.format("pace")) == len(waits)
        assert door.metrics('gateway_jwks_refresh_total{result="ok"}') == 1
    door.stop()
    # The bystander was one, and the last fifth of a burst is for those who were here before.
    assert 39 <= came_in <= 40 + 10 * seconds
    assert came_in + len(waits) == 300
    assert all(1 <= wait <= 30 for wait in waits)


def test_w32_sigterm_sends_everybody_away_with_a_word(tmp_path: Path) -> None:
    """3001 each, and an end that is one; a flood before is in the log, and does not fill it."""
    door = Door(tmp_path, {"GATEWAY_DRAIN_SECONDS": "3", "GATEWAY_LOG_LINES_PER_MINUTE": "10"})
    door.start()
    with ExitStack() as stack:
        for _ in range(30):
            assert status(door.shake("Authorization: Basic x")) == 401
        peers = [stack.enter_context(door.connect(f"user{number}")) for number in range(40)]
        door.process.send_signal(signal.SIGTERM)
        codes = Counter(peer.closed() for peer in peers)
    door.stop()

    assert codes == {3001: 40}
    lines = [json.loads(line) for line in door.log.splitlines()]
    refused = [line for line in lines if line["event"] == "handshake refused"]
    left_out = [
        line["left_out"]
        for line in lines
        if line["event"] == "lines left out" and line["of"] == "handshake refused"
    ]
    # A minute may end in the middle, and then there are as many lines again.
    assert len(refused) <= 20
    assert len(refused) + sum(left_out) == 30
