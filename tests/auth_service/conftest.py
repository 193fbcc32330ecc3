"""The service under test: a temporary folder, cheap hashes, a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from auth_service.app import Service, create_app, open_service
from auth_service.models import User
from auth_service.passwords import HashParameters
from auth_service.settings import Settings

NOW = 1_900_000_000.0
Login = Callable[..., Awaitable[httpx2.Response]]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The service's clock."""
    return Clock()


@pytest.fixture
def now() -> float:
    """The moment at which the service's clock stands."""
    return NOW


@pytest.fixture
def password() -> str:
    """Alice's password."""
    return "correct horse battery staple"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of a development server with a default client."""
    return Settings.from_environment(
        {
            "AUTH_DATABASE_URL": database_url,
            "AUTH_KEYS_DIR": f"{tmp_path}/keys",
            "AUTH_DEFAULT_CLIENT": "chat",
            "AUTH_HASH_THREADS": "2",
            "AUTH_DATABASE_SECONDS": "30",
        }
    )


@pytest.fixture
async def service(settings: Settings, clock: Clock) -> AsyncIterator[Service]:
    """An open service whose hashes cost next to nothing."""
    cheap = HashParameters(memory_kib=8, passes=1, lanes=1)
    async with open_service(settings, clock=clock, hash_parameters=cheap) as opened:
        yield opened


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the public application."""
    transport = httpx2.ASGITransport(create_app(service))
    async with httpx2.AsyncClient(transport=transport, base_url="https://localhost") as client:
        yield client


@pytest.fixture
async def alice(service: Service, password: str) -> User:
    """A user."""
    return await service.accounts.add("alice", password)


@pytest.fixture
def login(http: httpx2.AsyncClient, alice: User, password: str) -> Login:
    """Send the password grant as alice; keywords replace fields, None leaves one out."""

    async def send(**changes: str | None) -> httpx2.Response:
        fields: dict[str, str | None] = {
            "grant_type": "password",
            "username": alice.username,
            "password": password,
            **changes,
        }
        data = {name: value for name, value in fields.items() if value is not None}
        return await http.post("/token", data=data)

    return send
