"""Requests that bring commands, from wherever they arrive to the connection they are for."""

from __future__ import annotations

import re

from ws_gateway.control.cluster import Cluster
from ws_gateway.control.messages import Relayed
from ws_gateway.fallbacks.emulation_request import EmulatedCommands
from ws_gateway.fallbacks.sessions import EmulatedSessions

# The name is the client's word, and becomes a part of a channel's in Redis.
_NODE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Emulation:
    """The fallbacks' sessions of one node, and the way to those of other nodes.

    Args:
        cluster: The nodes. Who may speak on its bus may speak for any session, if he knows it.

    Attributes:
        node: Of this process.
        sessions: Those that are here.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.node = cluster.node
        self.sessions = EmulatedSessions()
        self._cluster = cluster
        cluster.on_relayed = self._take

    @property
    def ready(self) -> bool:
        """Whether a session that begins here could be reached from every node."""
        return self._cluster.ready

    async def deliver(self, request: EmulatedCommands, origin: str | None) -> bool:
        """Hand a request to its connection, or send it to its node.

        Args:
            request: What came.
            origin: From where.

        Returns:
            False where this origin has no such session here, or there is no such node. Of a
            session on another node it says only that the node is there.

        Raises:
            BrokerUnavailable: The other node cannot be reached now.
        """
        commands = Relayed(
            version=1,
            session=request.session,
            data=request.data,
            binary=request.binary,
            origin=origin,
        )
        if request.node == self.node:
            return self._hand_over(commands)
        if _NODE.fullmatch(request.node) is None:
            return False
        return await self._cluster.relay(request.node, commands)

    def _take(self, commands: Relayed) -> None:
        self._hand_over(commands)

    def _hand_over(self, commands: Relayed) -> bool:
        transport = self.sessions.find(commands.session, commands.origin)
        if transport is None:
            return False
        transport.take(commands.data, binary=commands.binary)
        return True
