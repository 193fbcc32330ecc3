"""Ports for servers that tests start; in a module of its own, because all of them need some."""

from __future__ import annotations

import contextlib
import random
import socket
from collections import deque

# Below the range from which the kernel takes the ports of outgoing connections.
_PORTS = range(20_000, 32_000)
#: Whoever was given one may not listen on it yet: it is nobody else's for long after.
_GIVEN: deque[int] = deque(maxlen=2_000)


def free_ports(count: int) -> list[int]:
    """Find ports on which nobody listens, and which this process has not been given lately."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = random.choice(_PORTS)  # noqa: S311
            if port in _GIVEN:
                continue
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
                _GIVEN.append(port)
        return found
