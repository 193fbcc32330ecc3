"""The demo users: the file and the database agree, whatever became of either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth_service.app import Service, open_service
from auth_service.models import User, Username
from auth_service.passwords import HashParameters
from auth_service.settings import Settings
from auth_service.store import users
from infra.embedded.demo_users import FILE, ensure_demo_users
from infra.embedded.local_directory import LocalDirectory
from ws_gateway.exceptions import ConfigurationError

CHEAP = HashParameters(memory_kib=8, passes=1, lanes=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a service in the same directory."""
    return Settings.from_environment(
        {
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/auth.db",
            "AUTH_KEYS_DIR": f"{tmp_path}/keys",
        }
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """An open service."""
    async with open_service(settings, hash_parameters=CHEAP) as opened:
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> LocalDirectory:
    """The directory of the file."""
    return LocalDirectory(str(tmp_path))


async def find(service: Service, name: str) -> User | None:
    """Find a user by name."""
    async with service.database.read() as connection:
        return await users.by_name(connection, Username.parse(name))


async def accepts(service: Service, name: str, password: str) -> bool:
    """Say whether this is a demo user's password."""
    user = await find(service, name)
    assert user is not None
    assert user.demo
    return (await service.hasher.verify(password, user.password_hash)).correct


async def test_there_are_two_with_long_random_passwords(
    service: Service, local: LocalDirectory
) -> None:
    """Kept in a file for its owner, ``name:password`` lines."""
    passwords = await ensure_demo_users(service, local)

    assert passwords.keys() == {"alice", "bob"}
    assert len(set(passwords.values())) == 2
    for name, password in passwords.items():
        assert len(password) >= 20
        assert await accepts(service, name, password)
    path = local.path(FILE)
    assert path.read_text() == f"alice:{passwords['alice']}\nbob:{passwords['bob']}\n"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_second_start_changes_nothing(service: Service, local: LocalDirectory) -> None:
    """Same users, same ids, same passwords."""
    first = await ensure_demo_users(service, local)
    alice = await find(service, "alice")

    assert await ensure_demo_users(service, local) == first
    assert await find(service, "alice") == alice


async def test_without_the_file_there_are_new_passwords_for_the_same_users(
    service: Service, local: LocalDirectory
) -> None:
    """Nobody knows the old ones any more."""
    first = await ensure_demo_users(service, local)
    alice = await find(service, "alice")
    assert alice is not None
    local.path(FILE).unlink()

    second = await ensure_demo_users(service, local)

    assert not set(first.values()) & set(second.values())
    assert await accepts(service, "alice", second["alice"])
    assert not await accepts(service, "alice", first["alice"])
    again = await find(service, "alice")
    assert again is not None
    assert again.id == alice.id


async def test_without_the_database_the_files_passwords_are_used(
    service: Service, local: LocalDirectory
) -> None:
    """The file is what the terminal showed."""
    for_alice, for_bob = "of twenty letters, one", "of twenty letters, two"
    local.path(FILE).write_text(f"bob:{for_bob}\nalice:{for_alice}\n")

    passwords = await ensure_demo_users(service, local)

    assert passwords == {"alice": for_alice, "bob": for_bob}
    assert await accepts(service, "bob", for_bob)


@pytest.mark.parametrize("text", ["", "alice\n", "alice:short\n", "\0\xff\n:\n::\n"])
async def test_a_damaged_file_is_mended(service: Service, local: LocalDirectory, text: str) -> None:
    """What is missing or too short is made anew; the mode is put right as well."""
    await asyncio.to_thread(local.path(FILE).write_text, text)

    passwords = await ensure_demo_users(service, local)

    assert all(len(password) >= 20 for password in passwords.values())
    assert local.path(FILE).stat().st_mode & 0o777 == 0o600
    assert await ensure_demo_users(service, local) == passwords


async def test_a_real_user_of_the_name_is_left_alone(
    service: Service, local: LocalDirectory
) -> None:
    """A demo password must not open somebody's account."""
    await service.accounts.add("Alice", "a password of her own")

    with pytest.raises(ConfigurationError, match=r"^the demo user alice: .*no demo user$"):
        await ensure_demo_users(service, local)

    assert not local.path(FILE).exists()
