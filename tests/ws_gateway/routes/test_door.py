"""Who is let in, and that nobody is counted for ever (test_websocket.py has the rest)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import HTTPException
from starlette.requests import Request

from tests.ws_gateway.conftest import Gateway, RecordingTransport
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
    assert refused.value.headers == {"Retry-After": "5"}
    assert len(places) == 0
