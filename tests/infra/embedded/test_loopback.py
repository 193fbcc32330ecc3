"""Sockets on loopback: nowhere else, all or none."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from infra.embedded import loopback
from ws_gateway.exceptions import ConfigurationError


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    """What closes the sockets."""
    async with contextlib.AsyncExitStack() as opened:
        yield opened


async def test_it_listens_at_once(stack: contextlib.AsyncExitStack) -> None:
    """A client that comes early waits in the kernel and is not refused."""
    sockets = loopback.listen([("127.0.0.1", 0)], "X", stack)

    with socket.create_connection(("127.0.0.1", loopback.port(sockets))):
        pass

    assert loopback.url(sockets) == f"http://127.0.0.1:{loopback.port(sockets)}"


@pytest.mark.skipif(not loopback.has_ipv6(), reason="no IPv6 here")
async def test_ipv6_is_written_in_brackets(stack: contextlib.AsyncExitStack) -> None:
    """RFC 3986 section 3.2.2."""
    sockets = loopback.listen([("::1", 0)], "X", stack)

    assert loopback.url(sockets) == f"http://[::1]:{loopback.port(sockets)}"


async def test_a_busy_port_is_one_line_and_leaves_no_socket(
    stack: contextlib.AsyncExitStack,
) -> None:
    """The setting, the address, the reason."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        number = busy.getsockname()[1]

        with pytest.raises(ConfigurationError) as caught:
            loopback.listen([("127.0.0.1", 0), ("127.0.0.1", number)], "X", stack)

    assert str(caught.value) == f"X: cannot listen on 127.0.0.1:{number}: Address already in use"


async def test_a_port_that_another_has_bound_and_not_yet_opened_is_found_busy(
    stack: contextlib.AsyncExitStack,
) -> None:
    """Two starts at the same moment: one of them listens, the other one says so."""
    sockets = loopback.listen([("127.0.0.1", 0)], "X", stack)
    number = loopback.port(sockets)

    with pytest.raises(ConfigurationError, match="already in use"):
        loopback.listen([("127.0.0.1", number)], "X", stack)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "", "127.0.0.1.x"])  # noqa: S104
async def test_other_addresses_are_refused(stack: contextlib.AsyncExitStack, host: str) -> None:
    """Demo passwords and plain HTTP are for one machine."""
    with pytest.raises(ConfigurationError, match=r"^X: .* is not a loopback address"):
        loopback.listen([("127.0.0.1", 0), (host, 0)], "X", stack)
