"""Which connections there are, and why others ended, on all nodes together."""

from __future__ import annotations

from heapq import merge, nlargest
from itertools import islice

import msgspec
from msgspec import Struct

from ws_gateway.closes import Close
from ws_gateway.control.cluster import Cluster
from ws_gateway.control.messages import ListCloses, ListConnections, ShowConnection
from ws_gateway.descriptions import ConnectionDetails, ConnectionSummary

MAX_LISTED = 1000
"""In one answer."""


class ConnectionList(Struct, frozen=True):
    """A page of connections, by their ids.

    Attributes:
        connections: Those of this page.
        next: What to continue after; empty on the last page.
        complete: All nodes have answered.
    """

    connections: list[ConnectionSummary]
    next: str
    complete: bool


class CloseList(Struct, frozen=True):
    """Connections that ended, the last first; each node remembers so many.

    Attributes:
        closes: What was found.
        by_code: How many of these there are of each close code.
        complete: All nodes have answered.
    """

    closes: list[Close]
    by_code: dict[str, int]
    complete: bool


_decode_connections = msgspec.json.Decoder(list[ConnectionSummary]).decode
_decode_details = msgspec.json.Decoder(list[ConnectionDetails]).decode
_decode_closes = msgspec.json.Decoder(list[Close]).decode


class Explanations:
    """Asks all nodes; what one that does not answer knows is missing, and the answer says so.

    Args:
        cluster: All nodes.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def list_connections(
        self, *, user: str | None = None, after: str = "", limit: int = 100
    ) -> ConnectionList:
        """List connections in the order of their ids.

        Args:
            user: Whose; empty for guests' and those who have not said, None for everybody's.
            after: The id to begin after.
            limit: How many at most.

        Raises:
            ReplyError: 100, the nodes cannot be reached now.
        """
        # One more than is shown says whether there is a next page.
        answers = await self._cluster.ask(ListConnections(user=user, after=after, limit=limit + 1))
        pages = [_decode_connections(result) for result in answers.results]
        found = list(islice(merge(*pages, key=lambda one: one.client), limit + 1))
        shown = found[:limit]
        return ConnectionList(
            connections=shown,
            next=shown[-1].client if len(found) > limit else "",
            complete=answers.whole,
        )

    async def show_connection(self, client: str) -> ConnectionDetails | None:
        """Say all about one connection; None if no node that answers has it.

        Raises:
            ReplyError: 100, the nodes cannot be reached now.
        """
        answers = await self._cluster.ask(ShowConnection(client=client))
        found = [one for result in answers.results for one in _decode_details(result)]
        return found[0] if found else None

    async def list_closes(
        self, *, user: str | None = None, code: int = 0, limit: int = 100
    ) -> CloseList:
        """List connections that ended, the last first.

        Args:
            user: Whose; None for everybody's.
            code: With this close code; 0 for any.
            limit: How many at most.

        Raises:
            ReplyError: 100, the nodes cannot be reached now.
        """
        answers = await self._cluster.ask(ListCloses(user=user, code=code, limit=limit))
        found = [one for result in answers.results for one in _decode_closes(result)]
        closes = nlargest(limit, found, key=lambda close: close.at)
        by_code: dict[str, int] = {}
        for close in closes:
            by_code[str(close.code)] = by_code.get(str(close.code), 0) + 1
        return CloseList(closes=closes, by_code=by_code, complete=answers.whole)
