"""What speaks to Redis, as one server, a master behind sentinels, or a cluster wants it."""

from __future__ import annotations

import random
from collections.abc import Callable

from ws_gateway.broker.redis_cluster_subscriber import ClusterSubscriber
from ws_gateway.broker.redis_subscriber import MessageHandler, Subscriber
from ws_gateway.redis_cluster import ClusterCommands, ClusterMap
from ws_gateway.redis_commands import Commands, Requests, Script
from ws_gateway.redis_endpoint import Endpoint, read_address
from ws_gateway.redis_link import Timing


class Topology:
    """Makes connections to Redis, however many servers it has.

    Args:
        url: See `read_address`.
        timing: How patient connections are.
        jitter: See Link.

    Attributes:
        timing: As given.

    Raises:
        ValueError: The URL is none; the text does not repeat it.
    """

    def __init__(
        self,
        url: str,
        *,
        timing: Timing | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.timing = timing or Timing()
        self._jitter = jitter
        self._address = read_address(url)
        self._cluster: ClusterMap | None = None
        if self._address.kind == "cluster":
            self._cluster = ClusterMap(self._address, timing=self.timing, jitter=jitter)

    @property
    def sharded(self) -> bool:
        """Whether it is a cluster.

        Then a channel is in one slot, has in braces what its keys have there, and ``SPUBLISH``
        is the command for it.
        """
        return self._cluster is not None

    def commands(self, scripts: tuple[Script, ...]) -> Requests:
        """Make what requests go through; there is one in a process, and it keeps the map."""
        if self._cluster is None:
            return Commands(
                Endpoint(self._address), timing=self.timing, jitter=self._jitter, scripts=scripts
            )
        return ClusterCommands(
            self._cluster, timing=self.timing, jitter=self._jitter, scripts=scripts
        )

    def subscriber(
        self,
        *,
        key: Callable[[str], bytes],
        handler: MessageHandler,
        resumed: Callable[[str], None] = lambda _name: None,
        everywhere: bool = True,
    ) -> Subscriber | ClusterSubscriber:
        """Make what is subscribed to channels; see Subscriber and ClusterSubscriber."""
        if self._cluster is None:
            return Subscriber(
                Endpoint(self._address),
                key=key,
                handler=handler,
                resumed=resumed,
                timing=self.timing,
                jitter=self._jitter,
            )
        return ClusterSubscriber(
            self._cluster,
            key=key,
            handler=handler,
            resumed=resumed,
            timing=self.timing,
            jitter=self._jitter,
            everywhere=everywhere,
        )

    def endpoint(self, key: bytes) -> Endpoint:
        """Return the way to whoever has a key."""
        if self._cluster is None:
            return Endpoint(self._address)
        return self._cluster.endpoint_of(key)
