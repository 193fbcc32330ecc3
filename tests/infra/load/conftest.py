"""A front to load: the embedded one, whose ports the stack's settings can name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.embedded.settings import FRONT_PORT
from tests.integration.embedded import Embedded, free_ports


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server with its usual times."""
    server = Embedded(tmp_path_factory.mktemp("front")).start()
    yield server
    server.stop()


@pytest.fixture
def stack_of_front(front: Embedded) -> dict[str, str]:
    """The variables by which ``make load`` takes it for the stack on this machine."""
    return {
        "DRAWBRIDGE_LOCAL": str(front.local),
        "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{front.local}/auth.db",
        "DRAWBRIDGE_PORT_OFFSET": str(front.front - FRONT_PORT),
    }


@pytest.fixture
def stack_of_nobody(front: Embedded) -> dict[str, str]:
    """The same for a stack that is down, but has been up before."""
    (port,) = free_ports(1)
    return {
        "DRAWBRIDGE_LOCAL": str(front.local),
        "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{front.local}/auth.db",
        "DRAWBRIDGE_PORT_OFFSET": str(port - FRONT_PORT),
    }
