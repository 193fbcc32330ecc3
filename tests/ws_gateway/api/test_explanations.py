"""Which connections there are, on several nodes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.ws_gateway.control.test_cluster import Wire, stuck
from ws_gateway.api.explanations import Explanations
from ws_gateway.closes import Close
from ws_gateway.control.messages import (
    ListCloses,
    ListConnections,
    Order,
    ShowConnection,
)
from ws_gateway.descriptions import ConnectionDetails, ConnectionSummary


def summary(client: str) -> ConnectionSummary:
    """Make a connection in a list."""
    return ConnectionSummary(
        client=client, user="u", node="n", since=1, address="", codec="json", channels=0
    )


def close(client: str, at: float, code: int = 3000) -> Close:
    """Make an end."""
    return Close(
        at=at, client=client, user="", address="", code=code, reason="", detail="", lasted=1
    )


def details(client: str) -> ConnectionDetails:
    """Make all about a connection."""
    return ConnectionDetails(
        client=client,
        user="u",
        node="n",
        since=1,
        address="",
        codec="json",
        state="connected",
        claims=None,
        seconds_left=None,
        queue_bytes=0,
        round_trip=None,
        channels={},
    )


def knows(*clients: str) -> Callable[[Order], object]:
    """Make a node that has these connections, and had them until now."""

    async def perform(order: Order) -> bytes:
        match order:
            case ListConnections(after=after, limit=limit):
                found: object = [summary(one) for one in clients if one > after][:limit]
            case ShowConnection(client=client):
                found = [details(client)] if client in clients else []
            case ListCloses():
                found = [close(one, at=float(one)) for one in clients]
            case _:
                raise AssertionError(order)
        return msgspec.json.encode(found)

    return perform


@pytest.fixture
async def explanations() -> Explanations:
    """What two nodes know."""
    wire = Wire()
    cluster = await wire.node("a", knows("1", "3", "5"))  # type: ignore[arg-type]
    await wire.node("b", knows("2", "4"))  # type: ignore[arg-type]
    return Explanations(cluster)


async def test_pages_go_through_all_nodes_in_order(explanations: Explanations) -> None:
    """Each connection is on one page."""
    pages, after = [], ""
    while True:
        page = await explanations.list_connections(after=after, limit=2)
        pages.append([one.client for one in page.connections])
        assert page.complete
        after = page.next
        if not after:
            break

    assert pages == [["1", "2"], ["3", "4"], ["5"]]


async def test_a_connection_is_found_wherever_it_is(explanations: Explanations) -> None:
    """None if it is nowhere."""
    found = await explanations.show_connection("4")

    assert found is not None
    assert found.client == "4"
    assert await explanations.show_connection("9") is None


async def test_ends_are_the_last_of_all_nodes(explanations: Explanations) -> None:
    """With how many there are of each code."""
    found = await explanations.list_closes(limit=3)

    assert [one.client for one in found.closes] == ["5", "4", "3"]
    assert found.by_code == {"3000": 3}


async def test_a_node_that_is_stuck_hides_no_other() -> None:
    """And the answer says that it is missing."""
    wire = Wire()
    cluster = await wire.node("a", knows("1"), seconds=0.05)  # type: ignore[arg-type]
    slow = await wire.node("b", stuck)

    found = await Explanations(cluster).list_connections()

    assert [one.client for one in found.connections] == ["1"]
    assert not found.complete
    await slow.stop()
