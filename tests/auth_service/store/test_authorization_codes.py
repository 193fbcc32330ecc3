"""Codes are taken once."""

from __future__ import annotations

import pytest

from auth_service.models import Client, Username
from auth_service.store import authorization_codes, clients, users
from auth_service.store.authorization_codes import AuthorizationCode
from auth_service.store.database import Database

HASH = "a" * 64


@pytest.fixture
async def code(database: Database) -> AuthorizationCode:
    """A stored code."""
    client = Client("app", None, frozenset(), frozenset(), False, 1)
    async with database.write() as connection:
        await clients.add(connection, client)
        user = await users.add(
            connection,
            Username.parse("alice"),
            password_hash="x",
            scope="connect",
            demo=False,
            now=1,
        )
        code = AuthorizationCode(
            client_id="app",
            user_id=user.id,
            redirect_uri="https://app.example/cb",
            challenge="c" * 43,
            scope="connect",
            auth_time=1,
        )
        await authorization_codes.add(connection, HASH, code, expires_at=61)
    return code


async def test_a_code_is_taken_once_and_remembers_its_session(
    database: Database, code: AuthorizationCode
) -> None:
    """So that the session can be ended if the code comes again."""
    async with database.write() as connection:
        assert await authorization_codes.exchanged_for(connection, HASH, "app") is None
        assert await authorization_codes.use(connection, HASH, "app", sid="s1", now=2) == code
        assert await authorization_codes.use(connection, HASH, "app", sid="s2", now=2) is None
        assert await authorization_codes.exchanged_for(connection, HASH, "app") == "s1"
        assert await authorization_codes.exchanged_for(connection, HASH, "other") is None


@pytest.mark.usefixtures("code")
async def test_others_and_those_who_come_late_get_none(database: Database) -> None:
    """Nor do they spend it."""
    async with database.write() as connection:
        assert await authorization_codes.use(connection, HASH, "other", sid="s", now=2) is None
        assert await authorization_codes.use(connection, HASH, "app", sid="s", now=61) is None
        assert await authorization_codes.exchanged_for(connection, HASH, "app") is None
