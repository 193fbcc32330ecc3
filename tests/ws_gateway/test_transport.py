"""The two ends of the interface between connections and what carries them fit together."""

from __future__ import annotations

import inspect

import pytest

from ws_gateway.asgi import ASGITransport
from ws_gateway.connection import Connection
from ws_gateway.fallbacks.response_transport import ResponseTransport
from ws_gateway.sockets import Socket
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
    [
        (Transport, Socket),
        (Transport, ASGITransport),
        (Transport, ResponseTransport),
        (Receiver, Connection),
    ],
)
def test_implementation_has_what_the_interface_promises(
    interface: type, implementation: type
) -> None:
    """Name for name, parameter for parameter: the fast path is called from untyped callbacks.

    ``Socket.write`` is a slot that holds the event loop's own method, which has no signature.
    """
    promised = methods(interface)
    kept = {
        name: inspect.signature(member) if inspect.isfunction(member) else promised[name]
        for name in promised
        for member in [getattr(implementation, name)]
    }

    assert promised
    assert kept == promised


@pytest.mark.parametrize(
    ("implementation", "pings"),
    [(Socket, True), (ASGITransport, False), (ResponseTransport, False)],
)
def test_implementation_says_whether_it_can_ping(
    implementation: type[Transport], pings: bool
) -> None:
    """A session that could never see a pong must not wait for one."""
    assert implementation.frame_pings is pings
