"""Both services, once for every kind of database; and a gateway alone, once for each file."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import pytest

from tests.attacks.door import Door
from tests.attacks.running import Services
from tests.postgres_server import PostgresServer

# Everything comes from one address here, and that is not the subject unless a test says so.
WITHOUT_LIMITS = {
    f"AUTH_LIMIT_{name}": "0"
    for name in ("LOGINS", "ADDRESS", "ACCOUNT", "CLIENT", "USER_CODE", "INTROSPECTION")
}


@pytest.fixture(scope="session")
def services_on(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[Callable[[str], Services]]:
    """Both services on a kind of database, started by the first test that wants them.

    They last until the end. Those of a fixture with parameters would end whenever the parameter
    changes, which it does in every file.
    """
    with contextlib.ExitStack() as ends:

        @functools.cache
        def start(kind: str) -> Services:
            directory = tmp_path_factory.mktemp(kind)
            if kind == "sqlite":
                url = f"sqlite+aiosqlite:///{directory}/auth.db"
            else:
                url = postgres.url(postgres.create())
            running = Services(directory, url, WITHOUT_LIMITS).start()
            ends.callback(running.stop)
            running.populate()
            return running

        yield start


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def services(request: pytest.FixtureRequest, services_on: Callable[[str], Services]) -> Services:
    """The token service and a gateway that trusts it, without limits."""
    return services_on(request.param)


@pytest.fixture(scope="module")
def door_settings() -> dict[str, str]:
    """The usual limits; a file that is about others has its own."""
    return {}


@pytest.fixture(scope="module")
def open_door(
    tmp_path_factory: pytest.TempPathFactory, door_settings: dict[str, str]
) -> Iterator[Door]:
    """A gateway that runs."""
    door = Door(tmp_path_factory.mktemp("door"), door_settings).start()
    yield door
    door.stop()


@pytest.fixture
def door(open_door: Door) -> Iterator[Door]:
    """The same, which no test may harm."""
    with open_door.unharmed():
        yield open_door
