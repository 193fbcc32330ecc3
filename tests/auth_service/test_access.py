"""Whether an access token is good now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from auth_service.app import Service
from auth_service.exceptions import InvalidToken
from auth_service.models import User
from tests.auth_service.conftest import Clock, Login
from tests.databases import BOTH_DATABASES, watch_statements

pytestmark = BOTH_DATABASES


async def _reason(service: Service, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await service.access.check(token)
    return caught.value.reason


async def test_a_users_token_costs_one_statement(
    service: Service, login: Login, alice: User
) -> None:
    """A bad signature none."""
    token = (await login()).json()["access_token"]
    statements = watch_statements(service.database)

    access = await service.access.check(token)
    assert await _reason(service, token[:-3] + "AAA") in {"malformed", "base64"}

    assert (access.claims.sub, access.username) == (alice.id, "alice")
    assert [statement.split()[0] for statement in statements] == ["SELECT"]


async def test_a_services_token_needs_its_client_only(service: Service) -> None:
    """There is no session, and no user."""
    await service.registration.add("robot", secret_hash="x", grants=frozenset(), scope="api")

    def mint() -> str:
        return service.tokens.mint(
            sub="client:robot", client_id="robot", scopes=["api"], sid="s", now=service.clock()
        ).text

    token = mint()
    assert (await service.access.check(token)).username is None
    await service.administration.revoke_client("robot")
    assert await _reason(service, token) == "revoked"
    await service.administration.disable_client("robot")
    assert await _reason(service, token) == "client"


async def test_each_revocation_is_seen_at_once(
    service: Service, login: Login, alice: User, clock: Clock
) -> None:
    """The session's end, the user's and the client's watermarks, a disabled user or client."""
    orders: list[tuple[Callable[[str], Awaitable[None]], str]] = [
        (service.administration.end_session, "revoked"),
        (lambda _: service.administration.log_out_user(alice.id), "revoked"),
        (lambda _: service.administration.revoke_client("chat"), "revoked"),
        (lambda _: service.administration.disable_user(alice.id), "user"),
        (lambda _: service.administration.enable_user(alice.id), "revoked"),
        (lambda _: service.administration.disable_client("chat"), "client"),
    ]
    token = (await login()).json()["access_token"]
    for order, reason in orders:
        await order(service.tokens.read(token, now=clock()).sid)
        assert await _reason(service, token) == reason
        clock.now += 3
        if reason == "revoked":
            token = (await login()).json()["access_token"]
            await service.access.check(token)
