"""Both services, once for every kind of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.running import Services
from tests.postgres_server import PostgresServer

# Everything comes from one address here, and that is not the subject unless a test says so.
WITHOUT_LIMITS = {
    f"AUTH_LIMIT_{name}": "0"
    for name in ("LOGINS", "ADDRESS", "ACCOUNT", "CLIENT", "USER_CODE", "INTROSPECTION")
}


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def services(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
) -> Iterator[Services]:
    """The token service and a gateway that trusts it, without limits."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{directory}/auth.db"
    else:
        url = postgres.url(postgres.create())
    running = Services(directory, url, WITHOUT_LIMITS).start()
    running.populate()
    yield running
    running.stop()
