"""``POST /introspect``."""

from __future__ import annotations

import httpx2
import pytest

from auth_service.app import Service, create_app
from auth_service.clients import hash_secret
from tests.auth_service.conftest import Login

AUTH = ("api", "s3cret")


@pytest.fixture
async def _client(service: Service) -> None:
    await service.registration.add(
        "api", secret_hash=hash_secret("s3cret"), grants=frozenset(), scope="introspect"
    )
    await service.registration.add(
        "app", secret_hash=hash_secret("s3cret"), grants=frozenset(), scope="connect"
    )


@pytest.mark.usefixtures("_client")
async def test_a_resource_server_learns_what_a_token_says(
    http: httpx2.AsyncClient, login: Login
) -> None:
    """And of all else that it is not active, exactly (O24)."""
    body = (await login()).json()

    for kind in ("access_token", "refresh_token"):
        answer = await http.post("/introspect", data={"token": body[kind]}, auth=AUTH)
        assert answer.status_code == 200
        assert answer.json()["active"] is True
        assert answer.headers["Cache-Control"] == "no-store"
    for garbage in ("x", "a.b.c", body["access_token"] + "x", "\u00e4"):
        answer = await http.post("/introspect", data={"token": garbage}, auth=AUTH)
        assert (answer.status_code, answer.json()) == (200, {"active": False})


@pytest.mark.usefixtures("_client")
async def test_a_bearer_token_with_the_scope_will_do(
    service: Service, http: httpx2.AsyncClient, login: Login
) -> None:
    """A service's; one without the scope gets 403, a bad one 401."""
    user = (await login()).json()["access_token"]
    token = service.tokens.mint(
        sub="client:api", client_id="api", scopes=["introspect"], sid="s", now=service.clock()
    ).text

    def headers(value: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {value}"}

    good = await http.post("/introspect", data={"token": user}, headers=headers(token))
    poor = await http.post("/introspect", data={"token": user}, headers=headers(user))
    bad = await http.post("/introspect", data={"token": user}, headers=headers("x"))

    assert good.json()["active"] is True
    assert (poor.status_code, poor.json()["error"]) == (403, "insufficient_scope")
    assert (bad.status_code, bad.json()["error"]) == (401, "invalid_token")
    assert "insufficient_scope" in poor.headers["WWW-Authenticate"]


@pytest.mark.usefixtures("_client")
async def test_nobody_else_may_ask(http: httpx2.AsyncClient, login: Login) -> None:
    """No client, a public one, a wrong secret, one without the scope (O24)."""
    form = {"token": (await login()).json()["access_token"]}

    none = await http.post("/introspect", data=form)
    public = await http.post("/introspect", data={**form, "client_id": "chat"})
    wrong = await http.post("/introspect", data=form, auth=("api", "wrong"))
    poor = await http.post("/introspect", data=form, auth=("app", "s3cret"))
    missing = await http.post("/introspect", data={}, auth=AUTH)
    huge = await http.post("/introspect", data={"token": "x" * 1_000_000}, auth=AUTH)

    for answer in (none, public, wrong):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (poor.status_code, poor.json()["error"]) == (403, "insufficient_scope")
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    assert huge.status_code == 413


@pytest.mark.usefixtures("_client")
async def test_guesses_are_slowed_down(
    service: Service, http: httpx2.AsyncClient, login: Login
) -> None:
    """Only what is not active counts, for each client, and nothing is written for it (O24)."""
    good = {"token": (await login()).json()["access_token"]}
    for _ in range(service.settings.limit_introspection):
        await http.post("/introspect", data=good, auth=AUTH)
        guess = await http.post("/introspect", data={"token": "x"}, auth=AUTH)
        assert guess.status_code == 200

    refused = await http.post("/introspect", data={"token": "x"}, auth=AUTH)
    assert (refused.status_code, refused.json()["error"]) == (429, "too_many_attempts")
    assert refused.headers["Retry-After"] == "1"


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
@pytest.mark.usefixtures("_client")
async def test_wrong_secrets_are_counted_per_address(
    service: Service, http: httpx2.AsyncClient, path: str
) -> None:
    """As at the token endpoint: whoever guesses elsewhere does not lock the client out here."""
    wrong, elsewhere = (
        ("api", "wrong"),
        httpx2.ASGITransport(create_app(service), client=("::2", 1)),
    )
    for _ in range(service.settings.limit_client):
        answer = await http.post(path, data={"token": "x"}, auth=wrong)
        assert answer.status_code == 401

    assert (await http.post(path, data={"token": "x"}, auth=wrong)).status_code == 429
    assert (await http.post(path, data={"token": "x"}, auth=AUTH)).status_code == 200
    async with httpx2.AsyncClient(transport=elsewhere, base_url="https://localhost") as other:
        assert (await other.post(path, data={"token": "x"}, auth=wrong)).status_code == 401
