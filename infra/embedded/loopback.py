"""Listening sockets that only this machine can reach."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Sequence

from ws_gateway.exceptions import ConfigurationError
from ws_gateway.listeners import BACKLOG, bind

Address = tuple[str, int]


def has_ipv6() -> bool:
    """Say whether this machine has IPv6's loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def listen(
    addresses: Sequence[Address], variable: str, stack: contextlib.AsyncExitStack
) -> list[socket.socket]:
    """Listen on all addresses, or on none.

    Args:
        addresses: Host and port of each; port 0 takes a free one.
        variable: The setting to name if it fails.
        stack: Closes the sockets.

    Raises:
        ConfigurationError: An address is not loopback, or is in use.
    """
    for host, _ in addresses:
        if not _is_loopback(host):
            raise ConfigurationError(
                f"{variable}: {host} is not a loopback address, and this server is for one machine"
            )
    sockets = bind(addresses, variable=variable)
    for bound in sockets:
        stack.callback(bound.close)
    for bound in sockets:
        try:
            # At once, because two processes may bind one address and only one may listen there.
            bound.listen(BACKLOG)
        except OSError as error:
            host, number = bound.getsockname()[:2]
            raise ConfigurationError(
                f"{variable}: cannot listen on {host}:{number}: {os.strerror(error.errno or 0)}"
            ) from None
    return sockets


def port(sockets: Sequence[socket.socket]) -> int:
    """Return the port of the first."""
    return int(sockets[0].getsockname()[1])


def url(sockets: Sequence[socket.socket]) -> str:
    """Return the plain HTTP address of the first, without a path."""
    host, number = sockets[0].getsockname()[:2]
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
