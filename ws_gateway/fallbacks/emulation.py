"""Requests that bring commands, from wherever they arrive to the connection they are for."""

from __future__ import annotations

from ws_gateway.fallbacks.emulation_request import EmulatedCommands
from ws_gateway.fallbacks.relay import Relay
from ws_gateway.fallbacks.sessions import EmulatedSessions


class Emulation:
    """The fallbacks' sessions of one node, and the way to those of other nodes.

    Args:
        node: Of this process.
        relay: Carries requests to other nodes; None where there are none.

    Attributes:
        node: Of this process.
        sessions: Those that are here.
    """

    def __init__(self, node: str, relay: Relay | None = None) -> None:
        self.node = node
        self.sessions = EmulatedSessions()
        self._relay = relay

    async def start(self) -> None:
        """Begin to take requests from other nodes."""
        if self._relay is not None:
            await self._relay.start(self.node, self._take)

    async def stop(self) -> None:
        """Take no more of them."""
        if self._relay is not None:
            await self._relay.stop()

    @property
    def ready(self) -> bool:
        """Whether a session that begins here could be reached from every node."""
        return self._relay is None or self._relay.ready

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
        if request.node == self.node:
            return self._hand_over(request, origin)
        if self._relay is None:
            return False
        return await self._relay.forward(request, origin)

    def _take(self, request: EmulatedCommands, origin: str | None) -> None:
        self._hand_over(request, origin)

    def _hand_over(self, request: EmulatedCommands, origin: str | None) -> bool:
        transport = self.sessions.find(request.session, origin)
        if transport is None:
            return False
        transport.take(request.data, binary=request.binary)
        return True
