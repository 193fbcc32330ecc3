"""What a token is worth."""

from __future__ import annotations

from auth_service.app import Service
from auth_service.introspection import INACTIVE
from auth_service.models import User
from tests.auth_service.conftest import Clock, Login
from tests.databases import BOTH_DATABASES, watch_statements

pytestmark = BOTH_DATABASES


async def test_an_access_token_says_what_it_says(
    service: Service, login: Login, alice: User, now: float
) -> None:
    """RFC 7662 section 2.2; nothing is written."""
    token = (await login()).json()["access_token"]
    statements = watch_statements(service.database)

    described = await service.introspection.describe(token)

    claims = service.tokens.read(token, now=now)
    assert described == {
        "active": True,
        "scope": "connect",
        "client_id": "chat",
        "sub": alice.id,
        "username": "alice",
        "aud": ["drawbridge"],
        "iss": "https://localhost:8443",
        "exp": int(now) + 600,
        "iat": int(now),
        "jti": claims.jti,
        "sid": claims.sid,
        "token_type": "Bearer",
    }
    assert [statement.split()[0] for statement in statements] == ["SELECT"]


async def test_a_refresh_token_is_active_while_it_is_the_present_one(
    service: Service, login: Login, alice: User, now: float
) -> None:
    """Not once it was replaced, grace or not; looking does not use it up."""
    token = (await login()).json()["refresh_token"]

    for _ in range(2):
        described = await service.introspection.describe(token)
        assert (described["active"], described["sub"]) == (True, alice.id)
        assert described["exp"] == int(now) + 604_800
    successor = await login(grant_type="refresh_token", refresh_token=token)

    assert await service.introspection.describe(token) == INACTIVE
    found = await service.introspection.describe(successor.json()["refresh_token"])
    assert found["active"] is True
    await service.administration.disable_user(alice.id)
    assert await service.introspection.describe(successor.json()["refresh_token"]) == INACTIVE


async def test_all_else_is_inactive(service: Service, login: Login, clock: Clock) -> None:
    """Garbage, altered, revoked, expired: exactly one member."""
    body = (await login()).json()
    texts = ["x", "rt_", body["access_token"][:-4] + "AAAA", body["refresh_token"] + "A"]
    clock.now += 700_000

    for text in (*texts, body["access_token"], body["refresh_token"]):
        assert await service.introspection.describe(text) == {"active": False}
