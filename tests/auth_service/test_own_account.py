"""A user's own account."""

from __future__ import annotations

import asyncio

import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant
from auth_service.models import User
from auth_service.store import users
from tests.auth_service.conftest import Login
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

CALLER = Caller("192.0.2.1")


async def test_of_two_changes_at_once_one_counts(
    service: Service, alice: User, password: str
) -> None:
    """The other one's password is not the current one any more."""
    new = [f"another long password {number}" for number in range(2)]

    results = await asyncio.gather(
        *(service.account.change_password("alice", password, one, caller=CALLER) for one in new),
        return_exceptions=True,
    )

    assert [type(result) for result in results].count(InvalidGrant) == 1
    winner = new[results.index(None)]
    assert (await service.login.authenticate("alice", winner, caller=CALLER)).id == alice.id


async def test_a_wrong_password_ends_nothing(
    service: Service, login: Login, alice: User, password: str
) -> None:
    """Neither by a change nor by a log-out."""
    await login()

    with pytest.raises(InvalidGrant):
        await service.account.end_all_sessions("alice", "wrong", caller=CALLER)
    with pytest.raises(InvalidGrant):
        await service.account.change_password(
            "alice", "wrong", "a new and long password", caller=CALLER
        )

    assert len(await service.account.list_sessions(alice.id)) == 1
    async with service.database.read() as connection:
        found = await users.by_id(connection, alice.id)
    assert found is not None
    assert found.tokens_after == 0
    await service.login.authenticate("alice", password, caller=CALLER)


async def test_sessions_are_ones_own(
    service: Service, login: Login, alice: User, password: str
) -> None:
    """Nobody ends another one's, or the same one twice."""
    await login()
    bob = await service.accounts.add("bob", password)
    (session,) = await service.account.list_sessions(alice.id)

    assert not await service.account.end_session(bob.id, session.id, caller=CALLER)
    assert await service.account.end_session(alice.id, session.id, caller=CALLER)
    assert not await service.account.end_session(alice.id, session.id, caller=CALLER)
    assert not await service.account.end_session(alice.id, "unknown", caller=CALLER)


async def test_what_is_no_id_of_a_session_is_not_looked_up(
    service: Service, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL has no NUL in a text, and would answer as if it were out of order."""
    monkeypatch.setattr(service.database, "write", None)

    for sid in ("\0", "a b", "\u00e9", "s" * 65):
        assert not await service.account.end_session(alice.id, sid, caller=Caller())
