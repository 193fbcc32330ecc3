"""Statements about sessions."""

from __future__ import annotations

import pytest

from auth_service.models import Client, User, Username
from auth_service.store import clients, sessions, users
from auth_service.store.database import Database
from auth_service.store.sessions import NewSession, Standing


@pytest.fixture
async def alice(database: Database) -> User:
    """A user, beside a client."""
    async with database.write() as connection:
        client = Client("chat", None, frozenset(), frozenset({"connect"}), False, 1)
        await clients.add(connection, client)
        return await users.add(
            connection,
            Username.parse("alice"),
            password_hash="x",
            scope="connect",
            demo=False,
            now=1,
        )


def _session(user: User, sid: str) -> NewSession:
    return NewSession(
        id=sid,
        user_id=user.id,
        client_id="chat",
        kind="password",
        scope="connect",
        auth_time=1,
        now=1,
        token_hash="a" * 64,
        idle_expires_at=50,
        expires_at=100,
        address="",
        user_agent="",
    )


async def test_a_session_ends_once(database: Database, alice: User) -> None:
    """The second time there is nothing to end."""
    async with database.write() as connection:
        await sessions.add(connection, _session(alice, "s1"))
        first = await sessions.end(connection, "s1", reason="logout", now=2)
        second = await sessions.end(connection, "s1", reason="logout", now=3)

    assert first is not None
    assert (first.user_id, first.client_id) == (alice.id, "chat")
    assert second is None


async def test_all_of_a_user_or_client_end(database: Database, alice: User) -> None:
    """Those that have not ended before."""
    async with database.write() as connection:
        for sid in ("s1", "s2", "s3"):
            await sessions.add(connection, _session(alice, sid))
        await sessions.end(connection, "s1", reason="logout", now=2)
        ended = await sessions.end_of_user(connection, alice.id, reason="logout_all", now=2)
        assert {one.id for one in ended} == {"s2", "s3"}
        await sessions.add(connection, _session(alice, "s4"))
        assert await sessions.end_of_client(connection, "chat", reason="admin", now=2) == 1


async def test_standing_is_of_both(database: Database, alice: User) -> None:
    """User and client; nobody's standing is none."""
    async with database.write() as connection:
        await users.set_disabled(connection, alice.id, disabled=True)
        assert await sessions.standing(connection, alice.id, "chat") == Standing(True, 0, False, 0)
        assert await sessions.standing(connection, "nobody", "chat") is None
        assert await sessions.standing(connection, alice.id, "nobody") is None
