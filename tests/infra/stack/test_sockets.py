"""Who listens where."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from infra.embedded import loopback
from infra.stack import sockets


def test_listening_sockets_are_found_by_their_process() -> None:
    """Those that listen, with both kinds of addresses, and no connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = server.getsockname()
        with socket.create_connection(address) as client:
            found = sockets.listening([os.getpid()])

            assert address in found
            assert bound.getsockname() not in found
            assert client.getsockname() not in found
    assert address not in sockets.listening([os.getpid()])


@pytest.mark.skipif(not loopback.has_ipv6(), reason="needs IPv6's loopback")
def test_ipv6_addresses_are_read() -> None:
    """Written as people write them."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert ("::1", server.getsockname()[1]) in sockets.listening([os.getpid()])


def test_sockets_of_others_are_not_ours() -> None:
    """An address counts for the process that holds it; one that is gone holds none."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname() not in sockets.listening([child.pid])
    child.communicate(b"\n")

    assert sockets.listening([child.pid]) == set()
