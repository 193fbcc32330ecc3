"""An operator's orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from jose import jwt
from sqlalchemy import select

from auth_service.app import Service
from auth_service.exceptions import NoSuchAccount, WeakPassword
from auth_service.models import User
from auth_service.store import revocations
from auth_service.store.revocations import Revocation
from auth_service.store.tables import AUDIT_EVENTS, SESSIONS
from tests.auth_service.conftest import Login
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

Order = Callable[[Service, str], Awaitable[None]]
NEW = "another long enough password"


async def _entries(service: Service) -> list[Revocation]:
    async with service.database.read() as connection:
        return [entry for _, entry in await revocations.after(connection, 0, now=0, limit=9)]


async def _events(service: Service) -> list[str]:
    async with service.database.read() as connection:
        events = await connection.execute(select(AUDIT_EVENTS.c.event, AUDIT_EVENTS.c.actor))
        orders = [event.event for event in events if event.actor == "operator"]
        return [event for event in orders if event not in {"key_made", "user_added"}]


@pytest.mark.parametrize(
    ("order", "reason", "event"),
    [
        (lambda service, user: service.administration.disable_user(user), "user_disabled", True),
        (
            lambda service, user: service.administration.set_password(user, NEW),
            "password_changed",
            True,
        ),
        (lambda service, user: service.administration.log_out_user(user), "admin", False),
    ],
)
async def test_what_ends_all_sessions_of_a_user_is_told_once(  # noqa: PLR0917
    service: Service, login: Login, alice: User, now: float, order: Order, reason: str, event: bool
) -> None:
    """One entry for the user, none per session, and refresh tokens that are refused."""
    tokens = [(await login()).json()["refresh_token"] for _ in range(3)]

    await order(service, alice.id)

    (entry,) = await _entries(service)
    assert (entry.kind, entry.value, entry.before, entry.reason) == (
        "sub",
        alice.id,
        int(now),
        reason,
    )
    assert entry.until > now + 3600
    async with service.database.read() as connection:
        ends = (await connection.execute(select(SESSIONS.c.end_reason))).scalars().all()
    assert ends == [reason] * 3
    assert (await _events(service))[-1] == "sessions_ended"
    assert len(await _events(service)) == 1 + event
    for token in tokens:
        answer = await login(grant_type="refresh_token", refresh_token=token)
        assert answer.json()["error"] == "invalid_grant"


async def test_a_log_in_in_the_second_of_the_watermark_counts(
    service: Service, login: Login, alice: User, now: float
) -> None:
    """It is dated a second later; ended again in the same second, it is revoked nevertheless."""
    for turn in range(1, 4):
        await service.administration.log_out_user(alice.id)
        token = (await login()).json()["access_token"]
        claims = jwt.get_unverified_claims(token)
        await service.access.check(token)
        assert claims["iat"] == now + turn
        (*_, entry) = await _entries(service)
        assert entry.before == claims["iat"] - 1


async def test_a_disabled_user_may_come_back(service: Service, login: Login, alice: User) -> None:
    """By logging in."""
    token = (await login()).json()["refresh_token"]
    await service.administration.disable_user(alice.id)
    assert (await login()).status_code == 400

    await service.administration.enable_user(alice.id)

    assert (await login()).status_code == 200
    answer = await login(grant_type="refresh_token", refresh_token=token)
    assert answer.json()["error"] == "invalid_grant"


async def test_a_client_is_disabled_with_all_it_has(
    service: Service, login: Login, alice: User, now: float
) -> None:
    """One entry for the client; enabled again, it begins anew."""
    token = (await login()).json()["refresh_token"]

    await service.administration.disable_client("chat")

    (entry,) = await _entries(service)
    assert (entry.kind, entry.value, entry.reason) == ("client", "chat", "client_disabled")
    assert entry.before >= now
    assert (await login()).json()["error"] == "invalid_client"
    await service.administration.enable_client("chat")
    answer = await login(grant_type="refresh_token", refresh_token=token)
    assert answer.json()["error"] == "invalid_grant"
    fresh = (await login()).json()["access_token"]
    assert jwt.get_unverified_claims(fresh)["iat"] == entry.before + 1
    assert await _events(service) == ["client_disabled", "client_revoked", "client_enabled"]
    assert (await service.access.check(fresh)).username == alice.username


async def test_orders_about_nobody_are_refused(service: Service, alice: User) -> None:
    """And leave nothing behind."""
    orders = service.administration
    for refused in (
        orders.disable_user("x"),
        orders.enable_user("x"),
        orders.set_password("x", NEW),
        orders.log_out_user("x"),
        orders.end_session("x"),
        orders.disable_client("x"),
        orders.enable_client("x"),
        orders.revoke_client("x"),
    ):
        with pytest.raises(NoSuchAccount):
            await refused
    with pytest.raises(WeakPassword):
        await orders.set_password(alice.id, "short")

    assert await _entries(service) == []
    assert await _events(service) == []
