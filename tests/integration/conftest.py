"""The servers under test: one as it comes, one in a hurry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.embedded import Embedded
from tests.integration.gateways import Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Whose tokens count, where there is no token service."""
    issuer = Issuer()
    yield issuer
    issuer.stop()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server with its usual times, which says everything it does."""
    settings = {
        "GATEWAY_LOG_LEVEL": "INFO",
        "GATEWAY_EXPIRY_GRACE_SECONDS": "0",
        # Everybody of many tests logs in from one address, as the same two users.
        "AUTH_LIMIT_LOGINS": "0",
        "AUTH_LIMIT_ADDRESS": "0",
        "AUTH_LIMIT_ACCOUNT": "0",
        "AUTH_LIMIT_CLIENT": "0",
    }
    server = Embedded(tmp_path_factory.mktemp("running"), settings).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def running_hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server that waits for nobody."""
    settings = {
        "GATEWAY_PING_INTERVAL": "0.3",
        "GATEWAY_PONG_TIMEOUT": "0.2",
        "GATEWAY_CONNECT_TIMEOUT_SECONDS": "0.3",
    }
    server = Embedded(tmp_path_factory.mktemp("hasty"), settings).start()
    yield server
    server.stop()


@pytest.fixture
async def server(running: Embedded) -> AsyncIterator[Embedded]:
    """The usual server; a test leaves neither a connection nor a subscription behind."""
    yield running
    await running.nothing_left()


@pytest.fixture
async def hasty(running_hasty: Embedded) -> AsyncIterator[Embedded]:
    """The hasty server; a test leaves neither a connection nor a subscription behind."""
    yield running_hasty
    await running_hasty.nothing_left()
