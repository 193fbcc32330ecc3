"""Ports for servers that tests start; in a module of its own, because all of them need some."""

from __future__ import annotations

import contextlib
import random
import socket

# Below the range from which the kernel takes the ports of outgoing connections.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Find ports on which nobody listens."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", random.choice(_PORTS)))  # noqa: S311
                found.append(probe.getsockname()[1])
        return found
