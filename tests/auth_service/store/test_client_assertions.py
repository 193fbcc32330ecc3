"""Assertions are good once."""

from __future__ import annotations

import pytest

from auth_service.exceptions import InvalidToken
from auth_service.store import client_assertions
from auth_service.store.database import Database


async def test_the_same_one_is_refused(database: Database) -> None:
    """Of the same client; two clients may draw the same id."""
    for client_id in ("bot", "other"):
        async with database.write() as connection:
            await client_assertions.use(connection, client_id, "a" * 64, expires_at=1)

    with pytest.raises(InvalidToken):
        async with database.write() as connection:
            await client_assertions.use(connection, "bot", "a" * 64, expires_at=1)
