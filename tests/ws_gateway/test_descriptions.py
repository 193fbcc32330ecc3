"""What an operator is told of connections and of a node."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields

import msgspec
import pytest

from tests.ws_gateway.conftest import WALL_TIME, Gateway
from ws_gateway.credentials import Credentials
from ws_gateway.descriptions import Costs, describe, summarize
from ws_gateway.protocol.codec import PROTOBUF


@pytest.fixture
async def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    """One process, whose room has a history."""
    return make_gateway(
        channels="[without_namespace]\nallow_subscribe_for_client = true\nhistory_size = 5\n"
        'history_ttl = "60s"\nforce_recovery = true\n',
        ping_interval=10,
        pong_timeout=8,
    )


async def test_a_connection_is_described(gateway: Gateway, alice: Credentials) -> None:
    """Whose it is, for how long, with which channels, and how it fares."""
    peer = await gateway.connect(alice, address="192.0.2.7")
    await peer.ask({"id": 2, "subscribe": {"channel": "news"}})
    await gateway.advance(11)  # the first ping comes after 5 to 10 seconds
    peer.send({})
    peer.transport.unread = 70

    said = describe(peer.connection)

    assert (said.client, said.user, said.address) == (peer.connection.client, "alice", "192.0.2.7")
    assert (said.codec, said.state, said.node) == ("json", "connected", gateway.node.id)
    assert said.since == WALL_TIME
    assert said.seconds_left == pytest.approx(3589)
    assert said.queue_bytes == 70
    assert said.round_trip is not None
    assert 0 <= said.round_trip <= 6.5
    assert said.channels["news"].offset == 0
    assert said.channels["news"].epoch
    assert not said.channels["news"].server_side
    assert said.claims is not None
    assert said.claims.expires_at == WALL_TIME + 3600
    assert bytes(said.claims.info) == b'{"name":"Alice"}'


async def test_who_has_not_said_who_he_is_has_no_claims(gateway: Gateway) -> None:
    """And no round trip either."""
    peer = gateway.open(codec=PROTOBUF)

    said = describe(peer.connection)

    assert (said.user, said.claims, said.round_trip) == ("", None, None)
    assert (said.state, said.codec, said.seconds_left) == ("opened", "protobuf", None)


async def test_a_summary_says_the_same_in_short(gateway: Gateway, alice: Credentials) -> None:
    """For lists."""
    peer = await gateway.connect(alice, address="192.0.2.7")
    await peer.ask({"id": 2, "subscribe": {"channel": "news"}})

    said = summarize(peer.connection)

    assert (said.client, said.user, said.address) == (peer.connection.client, "alice", "192.0.2.7")
    assert (said.channels, said.since, said.codec) == (1, WALL_TIME, "json")


async def test_nothing_of_a_token_s_text_is_there(gateway: Gateway, alice: Credentials) -> None:
    """Nor what is for the operator's hooks alone; credentials do not even have a token."""
    gateway.tokens.known["SECRET.TOKEN.TEXT"] = msgspec.convert(
        {field.name: getattr(alice, field.name) for field in fields(alice)} | {"meta": b'"META"'},
        Credentials,
    )
    peer = gateway.open()
    await peer.ask({"id": 1, "connect": {"token": "SECRET.TOKEN.TEXT"}})

    text = msgspec.json.encode(describe(peer.connection)).decode()

    assert "alice" in text
    assert not re.search("SECRET|TOKEN.TEXT|META", text)


def test_a_process_is_measured() -> None:
    """CPU since the last time, memory now."""
    costs = Costs("here")
    total = sum(range(200_000))

    first = costs.measure()

    assert total
    assert first.cpu > 0
    assert first.rss > 1_000_000
    assert costs.name == "here"
    assert re.fullmatch(r".+_\d+", Costs().name)
