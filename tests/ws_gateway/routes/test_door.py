"""Who is let in, and that nobody is counted for ever (test_websocket.py has the rest)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from fastapi import HTTPException
from starlette.requests import Request

from tests.ws_gateway.conftest import Gateway, RecordingTransport
from tests.ws_gateway.routes.front import Front, Issuer, bearer
from ws_gateway.admission import UnauthenticatedSockets
from ws_gateway.bearer import Admission, Source
from ws_gateway.credentials import Credentials
from ws_gateway.protocol.codec import JSON
from ws_gateway.routes.door import Door

NOBODY = Admission(credentials=None, source=Source.NONE)


@pytest.fixture
def places() -> UnauthenticatedSockets:
    """One for all, so that a second is too many."""
    return UnauthenticatedSockets(limit=5, limit_per_address=1)


@pytest.fixture
def door(gateway: Gateway, places: UnauthenticatedSockets) -> Door:
    """The door of a node."""
    return Door(gateway.node, places, connection_limit=1)


@pytest.fixture
def request_() -> Request:
    """A handshake."""
    return Request({"type": "http", "client": ("192.0.2.1", 1), "headers": []})


async def test_a_client_without_a_connection_is_not_counted_further(
    door: Door, places: UnauthenticatedSockets, request_: Request
) -> None:
    """It left before it had one."""
    with door.enter(request_, NOBODY):
        inside = len(places)

    assert (inside, len(places)) == (1, 0)


async def test_a_connection_is_counted_until_it_has_ended(
    door: Door, places: UnauthenticatedSockets, request_: Request
) -> None:
    """If it never says whose it is; and the next one of the address waits for that."""
    with door.enter(request_, NOBODY) as entry:
        connection = entry.open(RecordingTransport(), JSON)
    with pytest.raises(HTTPException) as full, door.enter(request_, NOBODY):
        pass
    door._connection_limit = 2
    with pytest.raises(HTTPException) as refused, door.enter(request_, NOBODY):
        pass
    counted = len(places)
    connection.lost(1006)

    assert full.value.status_code == 503
    assert refused.value.status_code == 429
    assert (door.refused["full",], door.refused["unauthenticated",]) == (1, 1)
    assert (counted, len(places)) == (1, 0)


async def test_who_is_known_is_not_counted(
    door: Door, places: UnauthenticatedSockets, request_: Request, alice: Credentials
) -> None:
    """The bound is for strangers."""
    admission = Admission(credentials=alice, source=Source.HEADER)
    with door.enter(request_, admission) as entry:
        connection = entry.open(RecordingTransport(), JSON)

    assert len(places) == 0
    assert connection.credentials == alice


async def test_guests_stay_outside_where_they_are_not_allowed(
    door: Door, request_: Request, make_credentials: Callable[..., Credentials]
) -> None:
    """A token that names nobody is a guest's."""
    admission = Admission(credentials=make_credentials(""), source=Source.HEADER)
    with pytest.raises(HTTPException) as refused, door.enter(request_, admission):
        pass

    assert refused.value.status_code == 403


async def test_nobody_comes_while_the_node_is_going_away(
    gateway: Gateway, door: Door, places: UnauthenticatedSockets, request_: Request
) -> None:
    """And is told to come back."""
    await gateway.node.drain(0)
    with pytest.raises(HTTPException) as refused, door.enter(request_, NOBODY):
        pass

    assert refused.value.status_code == 503
    assert 3 <= int((refused.value.headers or {})["Retry-After"]) <= 7
    assert len(places) == 0
    assert door.refused["not_ready",] == 1


MakeFront = Callable[..., Awaitable[Front]]


def refused(front: Front) -> dict[str, float]:
    """Return how many were kept out, by reason, without those for which nobody was."""
    value = front.gateway.metrics.registry.get_sample_value
    counts = {
        reason: value("gateway_admissions_refused_total", {"reason": reason}) or 0
        for reason in ("not_ready", "full", "pace", "user", "address", "unauthenticated")
    }
    return {reason: count for reason, count in counts.items() if count}


async def test_a_storm_is_told_when_to_come_back(make_front: MakeFront, issuer: Issuer) -> None:
    """503 before the token is looked at, another time for each; the open ones stay."""
    front = await make_front(handshakes_per_second=0.5, handshakes_burst=2)
    inside = [await front.connect(bearer(issuer.mint(user))) for user in ("alice", "bob")]
    answers = [await front.refusal(bearer("not.a.token")) for _ in range(3)]

    waits = [int(answer.headers["Retry-After"]) for answer in answers]
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert len(set(waits)) == 3
    assert refused(front) == {"pace": 3}
    assert front.outcome("over_capacity") == 3
    for session in inside:
        await session.close()
    await front.empty()


async def test_a_credential_that_was_here_before_goes_first(
    make_front: MakeFront, issuer: Issuer
) -> None:
    """It is all that can be known of a client that resumes, before it is inside."""
    front = await make_front(handshakes_per_second=0.001, handshakes_burst=5)
    token = issuer.mint()
    inside = [await front.connect(bearer(token)) for _ in range(4)]
    new = await front.refusal(bearer(issuer.mint("bob")))
    back = await front.connect(bearer(token))

    assert new.status_code == 503
    for session in (*inside, back):
        await session.close()
    await front.empty()


async def test_bad_tokens_use_up_no_places(make_front: MakeFront, issuer: Issuer) -> None:
    """Else whoever sends them could keep all others out."""
    front = await make_front(handshakes_per_second=0.001, handshakes_burst=1)
    for _ in range(3):
        assert (await front.refusal(bearer("not.a.token"))).status_code == 401

    await (await front.connect(bearer(issuer.mint()))).close()


async def test_a_user_has_so_many_connections(make_front: MakeFront, issuer: Issuer) -> None:
    """429 at the handshake; others come in, and he again when one of his has gone."""
    front = await make_front(max_connections_per_user=2)
    his = [await front.connect(bearer(issuer.mint())) for _ in range(2)]
    answer = await front.refusal(bearer(issuer.mint()))
    other = await front.connect(bearer(issuer.mint("bob")))
    for session in his:
        await session.close()
    await other.close()
    await front.empty()

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert refused(front) == {"user": 1}
    await (await front.connect(bearer(issuer.mint()))).close()


async def test_the_users_limit_counts_for_connect_too(
    make_front: MakeFront, issuer: Issuer
) -> None:
    """3504: who somebody is may be said as late as that."""
    front = await make_front(max_connections_per_user=1)
    first = await front.connect(bearer(issuer.mint()))
    second = await front.connect()
    await second.send(json.dumps({"id": 1, "connect": {"token": issuer.mint()}}))
    await second.wait_closed()
    await first.close()
    await front.empty()

    assert (second.close_code, second.close_reason) == (3504, "connection limit")
    assert len(front.gateway.node.users) == 0


async def test_the_same_user_twice_over_is_one_connection(
    make_front: MakeFront, issuer: Issuer
) -> None:
    """A cookie at the handshake, a token with ``connect``."""
    front = await make_front(max_connections_per_user=1)
    token = issuer.mint()
    session = await front.connect(
        ("Cookie", f"__Host-drawbridge={token}"), ("Origin", "https://app.example.com")
    )
    await session.send(json.dumps({"id": 1, "connect": {"token": token}}))
    answer = json.loads(await session.recv())
    await session.close()
    await front.empty()

    assert "connect" in answer


async def test_an_address_has_so_many_connections(make_front: MakeFront, issuer: Issuer) -> None:
    """Whoever they are; none is counted that has gone."""
    front = await make_front(max_connections_per_address=2)
    inside = [await front.connect(bearer(issuer.mint())), await front.connect()]
    answer = await front.refusal(bearer(issuer.mint("bob")))
    counted = len(front.gateway.node.addresses)
    for session in inside:
        await session.close()
    await front.empty()

    assert answer.status_code == 429
    assert refused(front) == {"address": 1}
    assert (counted, len(front.gateway.node.addresses)) == (1, 0)


async def test_the_fallbacks_go_through_the_same_door(
    streaming: Front, http: httpx2.AsyncClient
) -> None:
    """A limit of one transport would be none."""
    assert streaming.gateway.node.draining is False
    await streaming.gateway.node.drain(0)
    body = json.dumps({"id": 1, "connect": {}})
    answer = await http.post("/connection/http_stream", content=body)

    assert answer.status_code == 503
    assert refused(streaming) == {"not_ready": 1}
