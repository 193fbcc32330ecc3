"""A token is given back."""

from __future__ import annotations

import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import UnauthorizedClient
from auth_service.models import Client, User
from auth_service.store import revocations
from auth_service.store.revocations import Revocation
from tests.auth_service.conftest import Clock, Login
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

CHAT = Client("chat", None, frozenset(), frozenset({"connect"}), False, 1)
OTHER = Client("other", None, frozenset(), frozenset({"connect"}), False, 1)
CALLER = Caller("192.0.2.1")


async def _entries(service: Service) -> list[Revocation]:
    async with service.database.read() as connection:
        return [entry for _, entry in await revocations.after(connection, 0, now=0, limit=9)]


async def test_an_access_token_is_named_until_it_has_expired(
    service: Service, login: Login, alice: User, now: float
) -> None:
    """By its id, once; its session goes on."""
    body = (await login()).json()

    for _ in range(2):
        await service.revocation.revoke(body["access_token"], CHAT, caller=CALLER)

    claims = service.tokens.read(body["access_token"], now=now)
    (entry,) = await _entries(service)
    assert (entry.kind, entry.value, entry.sub, entry.before) == ("jti", claims.jti, alice.id, 0)
    assert entry.until > claims.expires_at
    answer = await login(grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert answer.status_code == 200


async def test_a_refresh_token_takes_its_session_along(
    service: Service, login: Login, alice: User
) -> None:
    """Any token of the chain, and only once."""
    body = (await login()).json()
    await login(grant_type="refresh_token", refresh_token=body["refresh_token"])

    for _ in range(2):
        await service.revocation.revoke(body["refresh_token"], CHAT, caller=CALLER)

    (entry,) = await _entries(service)
    assert (entry.kind, entry.sub, entry.reason) == ("sid", alice.id, "logout")


async def test_another_clients_token_is_refused(service: Service, login: Login) -> None:
    """Of either kind."""
    body = (await login()).json()

    for kind in ("access_token", "refresh_token"):
        with pytest.raises(UnauthorizedClient):
            await service.revocation.revoke(body[kind], OTHER, caller=CALLER)

    assert await _entries(service) == []


async def test_what_is_not_good_any_more_needs_nothing(
    service: Service, login: Login, clock: Clock
) -> None:
    """Unknown, expired, altered."""
    token = (await login()).json()["access_token"]
    clock.now += 10_000

    for text in ("", "x", token, "rt_x.1.y.z"):
        await service.revocation.revoke(text, CHAT, caller=CALLER)
        await service.revocation.end_session_of(text, caller=CALLER)

    assert await _entries(service) == []
