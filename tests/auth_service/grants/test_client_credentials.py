"""Services get tokens for themselves."""

from __future__ import annotations

import httpx2
import pytest

from auth_service.app import Service
from auth_service.clients import hash_secret
from auth_service.store import clients

GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(autouse=True)
async def bot(service: Service) -> None:
    """A service."""
    await service.registration.add(
        "bot",
        grants=["client_credentials"],
        scope="api introspect",
        secret_hash=hash_secret("s"),
    )


async def test_a_service_gets_a_token_and_no_refresh_token(
    service: Service, http: httpx2.AsyncClient
) -> None:
    """Its subject is in a namespace that no user can be in (O19)."""
    body = (await http.post("/token", data=GRANT, auth=("bot", "s"))).json()

    claims = service.tokens.read(body["access_token"], now=service.clock())
    assert (claims.sub, claims.client_id) == ("client:bot", "bot")
    assert (claims.scope, body["scope"]) == ("api introspect", "api introspect")
    assert "refresh_token" not in body


async def test_a_user_called_like_a_client_is_somebody_else(
    service: Service, http: httpx2.AsyncClient, password: str
) -> None:
    """No clash (O19)."""
    user = await service.accounts.add("bot", password)
    body = (await http.post("/token", data=GRANT, auth=("bot", "s"))).json()

    assert service.tokens.read(body["access_token"], now=service.clock()).sub != user.id


@pytest.mark.parametrize(
    ("scope", "error"),
    [("api", None), ("api api", None), ("connect", "invalid_scope"), ("a  b", "invalid_scope")],
)
async def test_a_scope_is_within_the_clients(
    http: httpx2.AsyncClient, scope: str, error: str | None
) -> None:
    """It may ask for less (O18)."""
    answer = await http.post("/token", data={**GRANT, "scope": scope}, auth=("bot", "s"))

    assert answer.json().get("error") == error


async def test_a_public_client_is_refused(http: httpx2.AsyncClient) -> None:
    """Anybody could be it (O17)."""
    answer = await http.post("/token", data={**GRANT, "client_id": "chat"})

    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


async def test_a_token_is_dated_after_the_last_revocation(
    service: Service, http: httpx2.AsyncClient
) -> None:
    """So that what was revoked in the same second does not hit it."""
    before = int(service.clock()) + 2
    async with service.database.write() as connection:
        await clients.set_tokens_after(connection, "bot", before)

    body = (await http.post("/token", data=GRANT, auth=("bot", "s"))).json()

    claims = service.tokens.read(body["access_token"], now=service.clock())
    assert claims.issued_at == before + 1
