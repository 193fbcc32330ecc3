"""Requests of devices."""

from __future__ import annotations

import pytest

from auth_service.models import Client
from auth_service.store import clients, device_authorizations
from auth_service.store.database import Database

HASH = "a" * 64


async def _add(database: Database, code_hash: str, user_code: str) -> bool:
    async with database.write() as connection:
        return await device_authorizations.add(
            connection,
            code_hash=code_hash,
            user_code=user_code,
            client_id="tv",
            scope="",
            interval=5,
            now=1,
            expires_at=601,
        )


@pytest.fixture(autouse=True)
async def stored(database: Database) -> None:
    """A television's request."""
    async with database.write() as connection:
        await clients.add(connection, Client("tv", None, frozenset(), frozenset(), False, 1))
    await _add(database, HASH, "BCDFGHJK")


async def test_a_user_code_is_one_devices(database: Database) -> None:
    """Drawn twice, the second device draws again."""
    assert not await _add(database, "b" * 64, "BCDFGHJK")
    assert await _add(database, "b" * 64, "BCDFGHJL")


async def test_a_request_is_decided_about_once_and_in_time(database: Database) -> None:
    """Then it is not found by its user code any more."""
    async with database.write() as connection:
        for now, decided in ((601, False), (600, True), (600, False)):
            found = await device_authorizations.by_user_code(connection, "BCDFGHJK", now=now)
            assert (found is not None) == decided
            assert decided == await device_authorizations.decide(
                connection,
                "BCDFGHJK",
                state="denied",
                user_id=None,
                scope="",
                auth_time=None,
                now=now,
            )


async def test_it_is_remembered_when_a_device_asked(database: Database) -> None:
    """With fractions of a second, and only its own client finds it."""
    async with database.write() as connection:
        await device_authorizations.polled(connection, HASH, at=2.5, interval=10, state="pending")
        found = await device_authorizations.for_polling(connection, HASH, "tv")

        assert found is not None
        assert (found.polled_at, found.interval, found.state) == (2.5, 10, "pending")
        assert await device_authorizations.for_polling(connection, HASH, "other") is None
