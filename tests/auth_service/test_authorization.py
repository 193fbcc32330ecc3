"""Requests for codes; `routes/test_authorize` has what a browser sees."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import AuthorizationRefused, InvalidGrant, InvalidRequest
from auth_service.models import User
from auth_service.store import users
from auth_service.store.tables import AUDIT_EVENTS, AUTHORIZATION_CODES
from tests.auth_service.conftest import Clock
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

REQUEST = {
    "client_id": "app",
    "redirect_uri": "com.example.app:/cb",
    "response_type": "code",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
}


@pytest.fixture(autouse=True)
async def app(service: Service) -> None:
    """An app."""
    await service.registration.add(
        "app",
        grants=["authorization_code"],
        scope="connect",
        redirect_uris=["com.example.app:/cb"],
    )


async def test_a_code_is_stored_as_a_hash_and_told_to_the_audit(
    service: Service, alice: User
) -> None:
    """Who reads the database cannot use it."""
    request = await service.authorization.read(REQUEST)
    location = await service.authorization.approve(request, alice, Caller())

    answer = parse_qs(urlsplit(location).query)
    async with service.database.read() as connection:
        row = (await connection.execute(select(AUTHORIZATION_CODES))).one()
        events = list((await connection.execute(select(AUDIT_EVENTS.c.event))).scalars())
    assert location.startswith("com.example.app:/cb?")
    assert answer["code"][0] not in str(row)
    assert row.expires_at == service.clock() + 60
    assert events[-1] == "authorization_approved"
    assert "state" not in answer


async def test_who_cannot_be_sent_back_is_told_here(service: Service) -> None:
    """And everybody else there."""
    with pytest.raises(InvalidRequest):
        await service.authorization.read({**REQUEST, "redirect_uri": "com.example.app:/other"})
    with pytest.raises(AuthorizationRefused) as caught:
        await service.authorization.read({**REQUEST, "response_type": "token"})
    assert caught.value.location.startswith("com.example.app:/cb?error=unsupported_response_type")


async def test_a_password_that_was_replaced_meanwhile_gives_no_code(
    service: Service, alice: User, clock: Clock
) -> None:
    """It was right when it was checked, seconds ago, and must not outlive the change."""
    request = await service.authorization.read(REQUEST)
    await service.administration.set_password(alice.id, "another-long-passphrase-of-hers")
    clock.now += 5

    with pytest.raises(InvalidGrant):
        await service.authorization.approve(request, alice, Caller())

    async with service.database.read() as connection:
        assert (await connection.execute(select(AUTHORIZATION_CODES))).first() is None


async def test_who_was_disabled_meanwhile_gives_no_code(service: Service, alice: User) -> None:
    """Between the check of the password and the writing of the code."""
    request = await service.authorization.read(REQUEST)
    await service.administration.disable_user(alice.id)

    with pytest.raises(InvalidGrant):
        await service.authorization.approve(request, alice, Caller())


async def test_a_code_of_the_second_of_a_logout_everywhere_is_good(
    service: Service, alice: User
) -> None:
    """Whoever logs in right after it has typed the password after it."""
    await service.administration.log_out_user(alice.id)
    request = await service.authorization.read(REQUEST)
    async with service.database.read() as connection:
        back = await users.by_id(connection, alice.id)
    assert back is not None
    await service.authorization.approve(request, back, Caller())

    async with service.database.read() as connection:
        row = (await connection.execute(select(AUTHORIZATION_CODES))).one()
    assert row.auth_time > back.tokens_after
