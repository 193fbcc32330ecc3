"""Orders about users; `test_app` has what concerns the start."""

from __future__ import annotations

import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import (
    AccountError,
    InvalidGrant,
    InvalidUsername,
    TooManyAttempts,
    UsernameTaken,
    WeakPassword,
)
from auth_service.models import User
from auth_service.store import users


async def test_demo_users_can_be_ensured_again_and_again(service: Service) -> None:
    """Same user, and the password is the last one given."""
    first = await service.accounts.ensure_demo_user("alice", "the first password")
    again = await service.accounts.ensure_demo_user("alice", "the first password")
    changed = await service.accounts.ensure_demo_user("alice", "the second password")

    assert first.id == again.id == changed.id
    async with service.database.read() as connection:
        stored = await users.by_id(connection, first.id)
    assert stored is not None
    assert stored.demo
    assert (await service.hasher.verify("the second password", stored.password_hash)).correct
    assert await service.accounts.any_demo_user()


async def test_a_real_user_is_not_turned_into_a_demo_user(service: Service, alice: User) -> None:
    """Somebody's password is not overwritten because the names are equal."""
    with pytest.raises(UsernameTaken):
        await service.accounts.ensure_demo_user("Alice", "another password at all")

    async with service.database.read() as connection:
        assert await users.by_id(connection, alice.id) == alice
    assert not await service.accounts.any_demo_user()


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (("ALICE", "a long enough password", "connect"), UsernameTaken),
        (("bob", "too short", "connect"), WeakPassword),
        (("bob", "a long enough password", "connect  read"), AccountError),
        (("bob", "a long enough password", "api"), AccountError),
        (("client:bob", "a long enough password", "connect"), InvalidUsername),
    ],
)
@pytest.mark.usefixtures("alice")
async def test_bad_orders_are_refused(
    service: Service, order: tuple[str, str, str], error: type[Exception]
) -> None:
    """One sentence for the operator each."""
    name, word, scope = order
    with pytest.raises(error):
        await service.accounts.add(name, word, scope=scope)


@pytest.mark.usefixtures("alice")
async def test_an_operator_lets_a_locked_account_in(service: Service, password: str) -> None:
    """Which says whether there was anything to forget."""
    caller = Caller(address="192.0.2.1")
    for _ in range(10):
        with pytest.raises(InvalidGrant):
            await service.login.authenticate("alice", "wrong", caller=caller)
    with pytest.raises(TooManyAttempts):
        await service.login.authenticate("alice", password, caller=caller)

    assert await service.accounts.unlock("alice")
    assert not await service.accounts.unlock("nobody")
