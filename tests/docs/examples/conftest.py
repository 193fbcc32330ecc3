"""The server that the gateway's clients among the examples talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.embedded import Embedded


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """An embedded server, started once."""
    server = Embedded(tmp_path_factory.mktemp("gateway")).start()
    yield server
    server.stop()
