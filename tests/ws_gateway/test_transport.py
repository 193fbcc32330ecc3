"""The two ends of the interface between connections and what carries them fit together."""

from __future__ import annotations

import inspect

import pytest

from ws_gateway.asgi import ASGITransport
from ws_gateway.connection import Connection
from ws_gateway.server import Socket
from ws_gateway.transport import Receiver, Transport


def methods(interface: type) -> dict[str, inspect.Signature]:
    """Return what an interface promises."""
    return {
        name: inspect.signature(member)
        for name, member in vars(interface).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("interface", "implementation"),
    [(Transport, Socket), (Transport, ASGITransport), (Receiver, Connection)],
)
def test_implementation_has_what_the_interface_promises(
    interface: type, implementation: type
) -> None:
    """Name for name, parameter for parameter: the fast path is called from untyped callbacks."""
    promised = methods(interface)
    kept = {name: inspect.signature(getattr(implementation, name)) for name in promised}

    assert promised
    assert kept == promised


@pytest.mark.parametrize(("implementation", "pings"), [(Socket, True), (ASGITransport, False)])
def test_implementation_says_whether_it_can_ping(
    implementation: type[Transport], pings: bool
) -> None:
    """A session that could never see a pong must not wait for one."""
    assert implementation.frame_pings is pings
