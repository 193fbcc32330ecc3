"""W: peers that are silent, do not read, stay too long or leave at once, against a process.

After each of them ``Door.unharmed`` sees that nobody was harmed.

==== =====================================================================
W14  the bounds, by a fake clock, are in tests/ws_gateway/test_connection_slow_reader.py
W15  tests/integration/test_protocol.py, test_who_does_not_answer_pings_is_closed;
     with a full buffer it is W14
W24  by a fake clock in tests/ws_gateway/test_connection_lifetimes.py
W25  tests/integration/test_revocations.py over both logs, test_revocation_load.py under load, and
     in tests/ws_gateway/test_connection_lifetimes.py during a handshake, ``connect`` and
     ``refresh``
==== =====================================================================
"""

from __future__ import annotations

import json
import random
import socket
import struct
import time

import pytest

from tests.attacks.door import Door, Peer
from tests.ws_gateway.raw_server import masked, request
from ws_gateway.frames import CLOSE, TEXT
from ws_gateway.routes.websocket import PATH

pytestmark = pytest.mark.integration

BULK = "x" * 60_000


@pytest.fixture(scope="module")
def door_settings() -> dict[str, str]:
    """A gateway that keeps little for who does not read, and soon gives up who says nothing."""
    return {
        "GATEWAY_MAX_QUEUE_BYTES": "65536",
        "GATEWAY_MAX_STALL_SECONDS": "60",
        "GATEWAY_CONNECT_TIMEOUT_SECONDS": "5",
        # A flood is to be ended by its token.
        "GATEWAY_COMMANDS_PER_SECOND": "0",
        "GATEWAY_USER_COMMANDS_PER_SECOND": "0",
    }


def test_w5_who_says_nothing_is_closed(door: Door) -> None:
    """3502 for a stranger; who was known at the handshake may be silent."""
    with (
        door.counts('gateway_disconnects_total{code="3502"}'),
        door.open() as stranger,
        door.enter() as known,
    ):
        assert stranger.closed() == 3502
        assert known.ask({"id": 1, "subscribe": {"channel": "x"}}) == {"id": 1, "subscribe": {}}


def _flood(door: Door, channel: str, series: str) -> int:
    """Publish until the gateway counts that somebody does not read; returns how often."""
    before, published = door.metrics(series), 0
    with door.connect("speaker") as speaker:
        while door.metrics(series) == before:
            assert published < 1000
            for _ in range(5):
                published += 1
                command = {"channel": channel, "data": {"number": published, "bulk": BULK}}
                assert "publish" in speaker.ask({"id": published + 1, "publish": command})
    return published


def test_w14_who_never_reads_a_hot_channel_is_cut_and_nobody_waits(door: Door) -> None:
    """3008 after a bounded number of bytes; another reader has got every one, in order."""
    before = door.metrics("process_resident_memory_bytes")
    with (
        door.counts('gateway_disconnects_total{code="3008"}'),
        door.connect(receive_buffer=4096) as stuck,
        door.connect("reader") as reader,
    ):
        for peer in (stuck, reader):
            peer.ask({"id": 2, "subscribe": {"channel": "hot:a"}})
        count = _read_while_flooded(door, reader)

        assert stuck.closed() == 1006
    assert count > 0
    assert door.metrics("process_resident_memory_bytes") - before < 30_000_000


def _read_while_flooded(door: Door, reader: Peer) -> int:
    """Let a channel be hot, and see that a reader gets it all."""
    before, published = door.metrics('gateway_disconnects_total{code="3008"}'), 0
    with door.connect("speaker") as speaker:
        while door.metrics('gateway_disconnects_total{code="3008"}') == before:
            assert published < 1000
            published += 1
            command = {"channel": "hot:a", "data": {"number": published, "bulk": BULK}}
            assert "publish" in speaker.ask({"id": published + 1, "publish": command})
            assert reader.hear()["push"]["pub"]["data"]["number"] == published
    return published


def test_w14_where_publications_may_be_dropped_he_stays_and_recovers(door: Door) -> None:
    """2500 behind what he was sent; then the history has what he missed: none is lost."""
    with door.connect(receive_buffer=4096) as slow:
        epoch = slow.ask({"id": 2, "subscribe": {"channel": "kept:a"}})["subscribe"]["epoch"]
        published = _flood(door, "kept:a", "gateway_subscriptions_dropped_total ")
        numbers = []
        while "pub" in (push := slow.hear()["push"]):
            numbers.append(push["pub"]["data"]["number"])
        position = {"recover": True, "epoch": epoch, "offset": len(numbers)}
        back = slow.ask({"id": 3, "subscribe": {"channel": "kept:a", **position}})["subscribe"]
        numbers += [found["data"]["number"] for found in back["publications"]]

    assert push["unsubscribe"]["code"] == 2500
    assert back["recovered"] is True
    assert numbers == list(range(1, published + 1))


def test_w23_a_token_ends_its_connection_whatever_it_does(door: Door) -> None:
    """3005 at ``exp``: idle, and while it publishes without a pause."""
    expires_at = int(time.time()) + 12
    with (
        door.counts('gateway_disconnects_total{code="3005"}', 2),
        door.open(door.bearer(exp=expires_at)) as idle,
        door.open(door.bearer("flooder", exp=expires_at)) as flooder,
    ):
        flooder.ask({"id": 1, "subscribe": {"channel": "flood"}})
        published = 0
        code = None
        while code is None:
            published += 1
            flooder.say({"publish": {"channel": "flood", "data": published}})
            try:
                flooder.hear()
            except EOFError as end:
                code = end.args[0]
        ended_at = time.time()

        assert idle.closed() == 3005
    assert code == 3005
    assert published > 1
    assert ended_at >= expires_at - 1


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (3500, {"sub": "another"}),
        (3005, {"iat": 1_000_000_000, "exp": 1_000_000_600}),
        (3507, {"scope": "introspect"}),
        (3500, {"aud": "another"}),
    ],
    ids=["user", "expired", "scope", "audience"],
)
def test_w24_a_refresh_with_another_kind_of_token_is_the_end(
    door: Door, code: int, changes: dict[str, object]
) -> None:
    """It is no way to become somebody else."""
    with door.open() as peer:
        assert "connect" in peer.ask({"id": 1, "connect": {"token": door.token()}})
        peer.say({"id": 2, "refresh": {"token": door.token("mallory", **changes)}})

        assert peer.closed() == code


def test_w24_garbage_is_tried_once(door: Door) -> None:
    """3500: a hundred tries need a hundred connections."""
    with door.open() as peer:
        assert "connect" in peer.ask({"id": 1, "connect": {"token": door.token()}})
        peer.say(*({"id": 2 + number, "refresh": {"token": "x.y.z"}} for number in range(100)))

        assert peer.closed() == 3500


def test_w28_who_leaves_at_any_moment_leaves_nothing(door: Door) -> None:
    """In the head, behind the answer, in the middle of commands; by FIN or by RST."""
    chance = random.Random(28)  # noqa: S311
    commands: list[object] = [
        {"id": 1, "connect": {}},
        {"id": 2, "subscribe": {"channel": "hot:gone"}},
        {"id": 3, "subscribe": {"channel": "kept:gone"}},
        {"id": 4, "publish": {"channel": "hot:gone", "data": 1}},
    ]
    head = request(PATH, door.bearer()).encode()
    frames = [masked(TEXT, json.dumps(command).encode()) for command in commands]
    conversation = b"".join((head, *frames, masked(CLOSE, b"\x03\xe8")))
    for _ in range(80):
        said = chance.randrange(1, len(conversation))
        with door.peer() as peer:
            peer.send(conversation[:said])
            if chance.choice((True, False)):
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif said >= len(head):
                assert peer.head()
