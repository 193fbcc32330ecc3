"""Exchanging codes (O21)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import select

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.models import User
from auth_service.store import revocations, users
from auth_service.store.tables import AUDIT_EVENTS, SESSIONS
from tests.auth_service.conftest import Clock
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

REDIRECT = "http://127.0.0.1/cb"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
Exchange = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def code(service: Service, alice: User) -> str:
    """A code that alice's browser brought to the client `app`."""
    for client_id in ("app", "other"):
        await service.registration.add(
            client_id,
            grants=["authorization_code"],
            scope="connect",
            redirect_uris=[REDIRECT],
        )
    request = await service.authorization.read(
        {
            "client_id": "app",
            "redirect_uri": "http://127.0.0.1:5000/cb",
            "response_type": "code",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
    )
    location = await service.authorization.approve(request, alice, Caller())
    return parse_qs(urlsplit(location).query)["code"][0]


@pytest.fixture
def exchange(http: httpx2.AsyncClient, code: str) -> Exchange:
    """Send the grant; keywords replace fields, an empty one leaves it out."""

    async def send(**changes: str) -> httpx2.Response:
        fields = {
            "grant_type": "authorization_code",
            "client_id": "app",
            "code": code,
            "redirect_uri": "http://127.0.0.1:5000/cb",
            "code_verifier": VERIFIER,
            **changes,
        }
        return await http.post("/token", data=fields)

    return send


async def test_a_code_gets_the_users_token(
    service: Service, exchange: Exchange, alice: User
) -> None:
    """Of the scope that was agreed to."""
    answer = await exchange()

    claims = service.tokens.read(answer.json()["access_token"], now=service.clock())
    assert (claims.sub, claims.client_id, claims.scope) == (alice.id, "app", "connect")
    async with service.database.read() as connection:
        row = (await connection.execute(select(SESSIONS.c.id, SESSIONS.c.kind))).one()
    assert tuple(row) == (claims.sid, "authorization_code")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code": ""}, 400, "invalid_request"),
        ({"redirect_uri": ""}, 400, "invalid_request"),
        ({"code_verifier": ""}, 400, "invalid_request"),
        ({"code_verifier": "a" * 42}, 400, "invalid_request"),
        ({"code_verifier": "a" * 129}, 400, "invalid_request"),
        ({"code_verifier": "a" * 43}, 400, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:5001/cb"}, 400, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:5000/cb/../x"}, 400, "invalid_grant"),
        ({"client_id": "other"}, 400, "invalid_grant"),
        ({"client_id": "chat"}, 400, "unauthorized_client"),
        ({"code": "ac_unknown"}, 400, "invalid_grant"),
        ({"code": "x" * 5000}, 400, "invalid_grant"),
    ],
)
async def test_a_code_is_bound_to_client_address_and_challenge(
    exchange: Exchange, changes: dict[str, str], status: int, error: str
) -> None:
    """Whoever lacks one of them gets nothing."""
    answer = await exchange(**changes)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_wrong_verifier_spends_the_code(exchange: Exchange) -> None:
    """It has been intercepted, or somebody guesses."""
    await exchange(code_verifier="a" * 43)

    assert (await exchange()).json()["error"] == "invalid_grant"


async def test_another_client_does_not_spend_the_code(exchange: Exchange) -> None:
    """Nor end the session."""
    await exchange(client_id="other")

    assert (await exchange()).status_code == 200


async def test_a_code_is_good_for_a_minute(exchange: Exchange, clock: Clock) -> None:
    """And not longer."""
    clock.now += 60

    assert (await exchange()).json()["error"] == "invalid_grant"


async def test_a_second_use_ends_the_session_of_the_first(
    service: Service, exchange: Exchange
) -> None:
    """RFC 6749 section 4.1.2; gateways are told."""
    token = (await exchange()).json()["access_token"]
    sid = service.tokens.read(token, now=service.clock()).sid

    assert (await exchange()).json()["error"] == "invalid_grant"

    async with service.database.read() as connection:
        ((_, entry),) = await revocations.after(connection, 0, now=0, limit=10)
        events = list((await connection.execute(select(AUDIT_EVENTS.c.event))).scalars())
    assert (entry.kind, entry.value, entry.reason) == ("sid", sid, "reuse")
    assert events[-2:] == ["code_reuse_detected", "session_ended"]


async def test_of_twenty_at_once_one_gets_a_token(exchange: Exchange) -> None:
    """The database decides."""
    answers = await asyncio.gather(*(exchange() for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 19]


async def test_a_user_who_was_disabled_meanwhile_gets_nothing(
    service: Service, exchange: Exchange, alice: User
) -> None:
    """Between agreeing and exchanging there may be a minute."""
    async with service.database.write() as connection:
        await users.set_disabled(connection, alice.id, disabled=True)

    assert (await exchange()).json()["error"] == "invalid_grant"
